// A `firn serve` process over an empty directory, for the tests of this folder.
//
// FIRN_BINARY names the server to start.

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

final class Server implements AutoCloseable {
  private static final Pattern ADDRESS = Pattern.compile("\"address\":\"([^\":]+):(\\d+)\"");

  final String host;
  final int port;
  private final Path directory;
  private final Process process;

  /** Starts it, and waits until it says where it listens. */
  Server() throws Exception {
    directory = Files.createTempDirectory("firn-clients-java");
    Path log = directory.resolve("log");
    process = new ProcessBuilder(System.getenv("FIRN_BINARY"), "serve", "--data", directory.resolve("data").toString(),
        "--listen", "127.0.0.1:0", "--metrics", "off", "--log-json").redirectError(log.toFile()).start();
    Matcher found = ADDRESS.matcher("");
    while (!found.reset(Files.readString(log)).find()) {
      assertTrue(process.isAlive(), "the server ended before it served");
      Thread.sleep(10);
    }
    host = found.group(1);
    port = Integer.parseInt(found.group(2));
  }

  /** Ends it and removes its directory. */
  @Override
  public void close() throws Exception {
    process.destroy();
    process.waitFor();
    try (var paths = Files.walk(directory)) {
      for (Path path : paths.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(path);
      }
    }
  }
}
