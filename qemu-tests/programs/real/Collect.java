// Objects that die young and old, code that gets hot, threads, locks, a thread pool, files.

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.stream.IntStream;

public class Collect {
    private static final int SCALE = Integer.parseInt(System.getenv("SCALE"));

    private static long garbage() {
        Map<Integer, byte[]> kept = new HashMap<>();
        long sum = 0;
        for (int turn = 0; turn < 400_000 * SCALE; turn++) {
            byte[] bytes = new byte[64 + turn % 300];
            bytes[turn % 64] = (byte) turn;
            kept.put(turn * 31 % 5_003, bytes);
            sum = sum * 31 + kept.size() + bytes.length;
        }
        return sum;
    }

    private static long hot(long seed) {
        long state = seed;
        for (int turn = 0; turn < 20_000_000 * SCALE; turn++) {
            state = state * 6364136223846793005L + 1442695040888963407L;
        }
        return state;
    }

    public static void main(String[] words) throws Exception {
        System.out.println("garbage " + garbage());
        List<Callable<Long>> parts = new ArrayList<>();
        for (long part = 0; part < 6; part++) {
            long seed = part;
            parts.add(() -> hot(seed));
        }
        var pool = Executors.newFixedThreadPool(3);
        for (var result : pool.invokeAll(parts)) {
            System.out.println("hot " + result.get());
        }
        pool.shutdown();
        System.out.println("stream " + IntStream.range(0, 300_000).parallel().filter(n -> n % 7 == 3).sum());
        Object lock = new Object();
        int[] counted = {0};
        List<Thread> threads = new ArrayList<>();
        for (int number = 0; number < 4; number++) {
            Thread thread = new Thread(() -> {
                for (int turn = 0; turn < 20_000; turn++) {
                    synchronized (lock) {
                        counted[0]++;
                    }
                }
            });
            threads.add(thread);
            thread.start();
        }
        for (Thread thread : threads) {
            thread.join();
        }
        System.out.println("counted " + counted[0]);
        Path file = Path.of("lines.txt");
        Files.write(file, IntStream.range(0, 5_000).mapToObj(n -> "line " + n * n).toList());
        System.out.println("lines " + Files.lines(file).mapToInt(String::hashCode).sum());
    }
}
