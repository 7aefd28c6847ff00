package shop;

import jakarta.servlet.http.*;
import java.util.concurrent.*;

/** Moves stock between two shelves, and locks them in the order in which they were named: two at once deadlock. */
public class Transfer extends HttpServlet {
    private static final Object LEFT = new Object(), RIGHT = new Object();
    private static final CyclicBarrier both = new CyclicBarrier(2);

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) {
        boolean left = "left".equals(request.getParameter("from"));
        move(left ? LEFT : RIGHT, left ? RIGHT : LEFT);
    }

    private void move(Object from, Object to) {
        synchronized (from) {
            try {
                both.await();
            } catch (InterruptedException | BrokenBarrierException e) {
                throw new IllegalStateException(e);
            }
            synchronized (to) {
                from.notify();
            }
        }
    }
}
