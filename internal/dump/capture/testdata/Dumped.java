import java.util.concurrent.CountDownLatch;
import java.util.concurrent.locks.ReentrantLock;

/** Sleeping threads, a deadlock and a lock that is held; with JDK 21 and newer virtual threads too. */
public class Dumped {
    static final Object first = new Object(), second = new Object();

    public static void main(String[] args) throws Exception {
        int threads = Integer.parseInt(args[0]);
        for (int i = 0; i < threads; i++) {
            daemon("worker-" + i, () -> sleep());
        }
        // JDK 25 breaks off its JSON at a name with a control character.
        daemon((Boolean.getBoolean("escapes") ? "\u001b[31m" : "") + "hostile\"name\" #7 <b>", () -> sleep());
        daemon("job password=hunter2 for bob", () -> sleep());
        CountDownLatch both = new CountDownLatch(2);
        daemon("left", () -> circle(first, second, both));
        daemon("right", () -> circle(second, first, both));
        ReentrantLock lock = new ReentrantLock();
        CountDownLatch held = new CountDownLatch(1);
        daemon("holder", () -> { lock.lock(); held.countDown(); sleep(); });
        held.await();
        daemon("waiter", () -> lock.lock());
        both.await();
        for (int i = 1; i < args.length; i++) {
            virtual(Integer.parseInt(args[i]));
        }
        System.out.println("ready");
        System.in.read();
    }

    static void virtual(int threads) throws Exception {
        Object builder = Thread.class.getMethod("ofVirtual").invoke(null);
        Class<?> type = Class.forName("java.lang.Thread$Builder");
        for (int i = 0; i < threads; i++) {
            Object named = type.getMethod("name", String.class).invoke(builder, "virtual-" + i);
            type.getMethod("start", Runnable.class).invoke(named, (Runnable) () -> sleep());
        }
    }

    static void circle(Object mine, Object other, CountDownLatch both) {
        synchronized (mine) {
            both.countDown();
            try { both.await(); } catch (InterruptedException e) { }
            synchronized (other) { }
        }
    }

    static void daemon(String name, Runnable work) {
        Thread t = new Thread(work, name);
        t.setDaemon(true);
        t.start();
    }

    static void sleep() {
        try { Thread.sleep(Long.MAX_VALUE); } catch (InterruptedException e) { }
    }
}
