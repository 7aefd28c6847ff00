import java.util.concurrent.locks.ReentrantLock;

/** A service whose pickers wait for whoever counts the stock, and he never ends; or, told "well", one that works. */
public class Depot {
    static final ReentrantLock stock = new ReentrantLock();

    public static void main(String[] args) throws Exception {
        if (args[0].equals("hang")) {
            Thread counter = start("stock-count", Depot::count);
            while (!stock.isLocked()) {
                Thread.onSpinWait();
            }
            for (int i = 1; i <= 12; i++) {
                Thread picker = start("picker-" + i, Depot::pick);
                while (!stock.hasQueuedThread(picker)) {
                    Thread.onSpinWait();
                }
            }
        }
        System.out.println("ready");
        new java.util.concurrent.CountDownLatch(1).await();
    }

    static void count() {
        stock.lock();
        try {
            Thread.sleep(Long.MAX_VALUE);
        } catch (InterruptedException e) {
            stock.unlock();
        }
    }

    static void pick() {
        stock.lock();
        stock.unlock();
    }

    static Thread start(String name, Runnable work) {
        Thread t = new Thread(work, name);
        t.setDaemon(true);
        t.start();
        return t;
    }
}
