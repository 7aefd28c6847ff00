package shop;

import jakarta.servlet.http.*;

/** Looks for a price that there is not, until somebody has enough of it. */
public class Price extends HttpServlet {
    private volatile boolean enough;

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) {
        enough = "enough".equals(request.getQueryString());
        long price = 1;
        while (!enough) {
            price = next(price);
        }
    }

    private long next(long price) {
        return price * 6364136223846793005L | 1;
    }
}
