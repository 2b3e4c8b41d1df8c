// The ice of a table is a Delta table to Spark: every row, value and time as it was written, also beyond a checkpoint of its log.
//
// FIRN_BINARY names the server to start, and the program that writes by it.

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(240)
class SparkTest {
  private static final Pattern ADDRESS = Pattern.compile("\"address\":\"([^\":]+:\\d+)\"");
  private static final int ROWS = 5000;
  private static final int FREEZES = 104;

  @TempDir
  Path directory;
  private String server;

  @Test
  void whatIsFrozenIsThereToSpark() throws Exception {
    Path log = directory.resolve("log");
    Path bucket = directory.resolve("bucket");
    Process serving = new ProcessBuilder(System.getenv("FIRN_BINARY"), "serve", "--data",
        directory.resolve("data").toString(), "--listen", "127.0.0.1:0", "--metrics", "off", "--log-json", "--bucket",
        "file://" + bucket).redirectError(log.toFile()).start();
    List<String> expected;
    try {
      Matcher found = ADDRESS.matcher("");
      while (!found.reset(Files.readString(log)).find()) {
        assertTrue(serving.isAlive(), "the server ended before it served");
        Thread.sleep(10);
      }
      server = "grpc://" + found.group(1);
      expected = write();
    } finally {
      serving.destroy();
      serving.waitFor();
    }
    Path table;
    try (var tables = Files.list(bucket.resolve("ice"))) {
      table = tables.findFirst().orElseThrow();
    }
    forget(table.resolve("_delta_log"));
    try (SparkSession spark = session()) {
      Dataset<Row> weather = spark.read().format("delta").load(table.toString());
      assertEquals(1, weather.where("kind = 'delete' AND origin = 'late'").count());
      assertEquals(expected, rows(weather.where("kind = 'write'")));
    }
  }

  /** Writes many rows at once and then some one by one, freezing each; all of them, as texts. */
  private List<String> write() throws Exception {
    firn("sql", "-c", "CREATE TABLE weather (origin VARCHAR, observed TIMESTAMP NOT NULL, temp DOUBLE, gusts INTEGER, "
        + "rain BOOLEAN, station BIGINT UNSIGNED, note VARCHAR, PRIMARY KEY (origin))");
    Random random = new Random(7);
    List<String> rows = new ArrayList<>();
    StringBuilder file = new StringBuilder("origin,observed,temp,gusts,rain,station,note\n");
    for (int row = 0; row < ROWS; row++) {
      // Values without a pattern, which are split into streams of bytes, and some nulls.
      String[] cells = {"airport-" + row % 70, Instant.EPOCH.plusSeconds(row).plusNanos(row * 1000L).toString(),
          Double.toString(random.nextGaussian()), row % 5 == 0 ? "" : Integer.toString(random.nextInt()),
          Boolean.toString(random.nextBoolean()), Long.toUnsignedString(random.nextLong()), "note " + row % 9};
      file.append(String.join(",", cells)).append('\n');
      rows.add(String.join(",", cells));
    }
    Path csv = directory.resolve("rows.csv");
    Files.writeString(csv, file);
    firn("import", "weather", csv.toString());
    firn("freeze", "weather");
    for (int row = 0; row < FREEZES; row++) {
      String time = Instant.EPOCH.plusSeconds(ROWS + row).toString();
      firn("sql", "-c", "INSERT INTO weather (origin, observed, gusts) VALUES ('late', TIMESTAMP '" + time + "', " + row + ")");
      firn("freeze", "weather");
      rows.add("late," + time + ",," + row + ",,,");
    }
    firn("sql", "-c", "DELETE FROM weather WHERE origin = 'late'");
    firn("freeze", "weather");
    rows.sort(null);
    return rows;
  }

  private static SparkSession session() {
    return SparkSession.builder().master("local[2]").config("spark.ui.enabled", "false")
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        .config("spark.sql.parquet.enableVectorizedReader", "false").config("spark.sql.shuffle.partitions", "2")
        .config("spark.databricks.delta.snapshotPartitions", "2").getOrCreate();
  }

  /** Removes the commits that the checkpoint stands for, as FirnDB does when they are old enough. */
  private static void forget(Path log) throws Exception {
    try (var files = Files.list(log)) {
      List<Path> sorted = files.sorted().toList();
      Path checkpoint = sorted.stream().filter(file -> file.toString().endsWith(".checkpoint.parquet")).findFirst().orElseThrow();
      for (Path older : sorted.subList(0, sorted.indexOf(checkpoint))) {
        Files.delete(older);
      }
      assertEquals(FREEZES, sorted.indexOf(checkpoint) + 4, "the rest are commits since");
    }
  }

  /** All rows, as they were written. */
  private static List<String> rows(Dataset<Row> weather) {
    List<String> rows = new ArrayList<>();
    for (Row row : weather.select("origin", "observed", "temp", "gusts", "rain", "station", "note").collectAsList()) {
      List<String> cells = new ArrayList<>();
      for (int column = 0; column < row.length(); column++) {
        Object cell = row.get(column);
        Object shown = cell instanceof java.sql.Timestamp time ? time.toInstant() : cell == null ? "" : cell;
        cells.add(shown.toString());
      }
      rows.add(String.join(",", cells));
    }
    rows.sort(null);
    return rows;
  }

  private void firn(String... words) throws Exception {
    List<String> command = new ArrayList<>(List.of(System.getenv("FIRN_BINARY")));
    command.addAll(Arrays.asList(words));
    command.addAll(List.of("--server", server));
    Path said = directory.resolve("said");
    int code = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(said.toFile()).start().waitFor();
    assertEquals(0, code, () -> command + ": " + read(said));
  }

  private static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (java.io.IOException error) {
      return error.toString();
    }
  }
}
