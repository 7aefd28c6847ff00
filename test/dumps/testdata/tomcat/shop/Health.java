package shop;

import jakarta.servlet.http.*;
import java.io.IOException;

/** Says that the service answers. */
public class Health extends HttpServlet {
    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        response.getWriter().println("ok");
    }
}
