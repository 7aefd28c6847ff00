import java.util.concurrent.CountDownLatch;
import java.util.concurrent.locks.ReentrantLock;

/** Two threads that wait for each other by monitors, two by locks, and one behind them. */
public class Deadlock {
    static final Object orders = new Object();
    static final Object stock = new Object();
    static final ReentrantLock left = new ReentrantLock();
    static final ReentrantLock right = new ReentrantLock();
    static final CountDownLatch held = new CountDownLatch(4);

    static void monitors(Object first, Object second) {
        synchronized (first) {
            meet();
            synchronized (second) {
                System.out.println("never");
            }
        }
    }

    static void locks(ReentrantLock first, ReentrantLock second) {
        first.lock();
        meet();
        second.lock();
    }

    static void meet() {
        held.countDown();
        try {
            held.await();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    static void enter() {
        synchronized (orders) {
            System.out.println("never");
        }
    }

    public static void main(String[] args) throws Exception {
        new Thread(() -> monitors(orders, stock), "order-writer").start();
        new Thread(() -> monitors(stock, orders), "stock-writer").start();
        new Thread(() -> locks(left, right), "say \"hi\" #7 prio=5 tid=0x1").start();
        new Thread(() -> locks(right, left), "<b>right</b>").start();
        held.await();
        Thread.sleep(300);
        new Thread(Deadlock::enter, "reader\nof two lines").start();
        Thread.sleep(300);
        System.out.println("ready");
        Thread.sleep(600_000);
    }
}
