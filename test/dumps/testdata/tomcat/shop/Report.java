package shop;

import jakarta.servlet.http.*;
import java.sql.*;
import org.apache.tomcat.jdbc.pool.DataSource;

/** Asks the database, and forgets to give the connection back. */
public class Report extends HttpServlet {
    private final DataSource pool = new DataSource();

    @Override
    public void init() {
        pool.setDriverClassName("shop.StubDriver");
        pool.setUrl("jdbc:stub:shop");
        pool.setInitialSize(0);
        pool.setMaxActive(5);
        pool.setMaxWait(10 * 60 * 1000);
    }

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) {
        try {
            count(pool.getConnection());
        } catch (SQLException e) {
            throw new IllegalStateException(e);
        }
    }

    private void count(Connection connection) throws SQLException {
        connection.getAutoCommit();
    }
}
