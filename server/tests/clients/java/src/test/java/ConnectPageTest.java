// The Java blocks of docs/connect.md run as they stand, and print what the page says that they print.

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.arrow.driver.jdbc.ArrowFlightJdbcDriver;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
class ConnectPageTest {
  private static final Pattern BLOCK =
      Pattern.compile("^```java\n(.*?)^```\n\n^```text\n(.*?)^```$", Pattern.DOTALL | Pattern.MULTILINE);

  @TempDir Path directory;

  @Test
  void thePageRunsAsItIsWritten() throws Exception {
    Matcher block = BLOCK.matcher(Files.readString(Path.of("../../../../docs/connect.md")));
    int tried = 0;
    while (block.find()) {
      try (Server server = new Server()) {
        String program = block.group(1).replace("127.0.0.1:3476", server.host + ":" + server.port);
        assertEquals(block.group(2), run(program));
      }
      tried++;
    }
    assertTrue(tried > 0, "the page has no block in Java with what it prints");
  }

  /** What a program prints beside the driver alone, in a zone that is not UTC. */
  private String run(String program) throws Exception {
    Path source = Files.writeString(directory.resolve("Connect.java"), program);
    Path driver = Path.of(ArrowFlightJdbcDriver.class.getProtectionDomain().getCodeSource().getLocation().toURI());
    Path log = directory.resolve("log");
    Process process = new ProcessBuilder(Path.of(System.getProperty("java.home"), "bin", "java").toString(),
        "--add-opens=java.base/java.nio=ALL-UNNAMED", "-Duser.timezone=America/New_York", "-classpath", driver.toString(),
        source.toString()).redirectError(log.toFile()).start();
    String printed = new String(process.getInputStream().readAllBytes(), UTF_8);
    int code = process.waitFor();
    assertEquals(0, code, Files.readString(log));
    return printed;
  }
}
