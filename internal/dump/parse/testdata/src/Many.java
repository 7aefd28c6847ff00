import java.util.concurrent.CountDownLatch;

/** As many threads as it is told, each some calls deep: for measuring. */
public class Many {
    static void deep(int n, CountDownLatch ready) throws InterruptedException {
        if (n > 0) {
            deep(n - 1, ready);
            return;
        }
        ready.countDown();
        synchronized (ready) {
            while (ready.getCount() >= 0) {
                ready.wait();
            }
        }
    }

    public static void main(String[] args) throws Exception {
        int threads = Integer.parseInt(args[0]);
        var ready = new CountDownLatch(threads);
        for (int i = 0; i < threads; i++) {
            int depth = 5 + i % 40;
            var t = new Thread(null, () -> {
                try {
                    deep(depth, ready);
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                }
            }, "worker-" + i, 256 << 10);
            t.setDaemon(true);
            t.start();
        }
        ready.await();
        System.out.println("ready");
        Thread.sleep(600_000);
    }
}
