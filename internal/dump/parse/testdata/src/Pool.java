import java.io.InputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/** Twelve workers, three connections that are never given back, one thread that spins, one that reads. */
public class Pool {
    static final ArrayBlockingQueue<String> connections = new ArrayBlockingQueue<>(3);

    static class Connections {
        static String get() throws InterruptedException {
            return connections.poll(10, TimeUnit.MINUTES);
        }
    }

    static void serve() {
        try {
            String c = Connections.get();
            synchronized (Pool.class) {
                while (c != null) {
                    Pool.class.wait();
                }
            }
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    static void spin() {
        long n = 0;
        while (n >= 0) {
            n = (n + 1) & Long.MAX_VALUE;
        }
    }

    static void read(int port) {
        try (Socket s = new Socket(InetAddress.getLoopbackAddress(), port); InputStream in = s.getInputStream()) {
            System.out.println(in.read());
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }

    public static void main(String[] args) throws Exception {
        for (int i = 0; i < 3; i++) {
            connections.add("connection-" + i);
        }
        ExecutorService workers = Executors.newFixedThreadPool(12);
        for (int i = 0; i < 12; i++) {
            workers.submit(Pool::serve);
        }
        Thread spinner = new Thread(Pool::spin, "spinner");
        spinner.setDaemon(true);
        spinner.start();
        ServerSocket door = new ServerSocket(0, 5, InetAddress.getLoopbackAddress());
        new Thread(() -> read(door.getLocalPort()), "reader").start();
        Thread.sleep(600);
        System.out.println("ready");
        door.accept().getInputStream().read();
    }
}
