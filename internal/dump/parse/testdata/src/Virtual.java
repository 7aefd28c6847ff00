import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.locks.LockSupport;

/** Virtual threads: some wait, one spins on its carrier, one is pinned to it by a native frame. */
public class Virtual {
    static final Object lock = new Object();
    static volatile boolean over;

    static void spin() {
        long n = 0;
        while (!over) {
            n++;
        }
    }

    static void pinned() {
        synchronized (lock) {
            new Pinned();
        }
    }

    /** A class initializer is a native frame: the thread that parks in it stays on its carrier. */
    static class Pinned {
        static {
            LockSupport.park();
        }
    }

    static void enter() {
        synchronized (lock) {
            System.out.println("never");
        }
    }

    static void await(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    public static void main(String[] args) throws Exception {
        var never = new CountDownLatch(1);
        try (var pool = Executors.newVirtualThreadPerTaskExecutor()) {
            Thread.ofVirtual().name("spinner").start(Virtual::spin);
            Thread.ofVirtual().name("pinned").start(Virtual::pinned);
            Thread.sleep(300);
            Thread.ofVirtual().name("enters").start(Virtual::enter);
            for (int i = 0; i < 5; i++) {
                pool.submit(() -> await(never));
            }
            Thread.sleep(300);
            System.out.println("ready");
        }
    }
}
