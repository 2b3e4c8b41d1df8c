// Statements through the JDBC driver of Flight SQL: declared, written, read, in the past, refused, cancelled.

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class JdbcStatementsTest extends Jdbc {
  private static final AtomicInteger NUMBERS = new AtomicInteger();
  /** A million rows, each of which takes a while to make. */
  private static final String MANY = "SELECT a.column1 AS n, repeat('x', 100) AS text FROM " + thousand() + " a, "
      + thousand() + " b";

  private String table;

  /** Two stations; what one of them saw, twice. */
  @BeforeEach
  void declare() throws SQLException {
    table = "weather" + NUMBERS.incrementAndGet();
    update("CREATE TABLE " + table + " (origin VARCHAR PRIMARY KEY, observed TIMESTAMP NOT NULL, temp DOUBLE)");
    update("CALL seal_table('" + table + "')");
    assertEquals(2, update("INSERT INTO " + table + " VALUES ('EWR', '2013-01-01T10:00:00Z', 39.0), "
        + "('JFK', '2013-01-01T10:00:00Z', NULL)"));
    assertEquals(1, update("INSERT INTO " + table + " VALUES ('EWR', '2013-01-01T11:00:00Z', 41.5)"));
  }

  private static String thousand() {
    StringBuilder values = new StringBuilder("(VALUES ");
    for (int number = 0; number < 1000; number++) {
      values.append(number == 0 ? "(" : ", (").append(number).append(")");
    }
    return values.append(")").toString();
  }

  @Test
  void whatIsWrittenIsRead() throws SQLException {
    assertEquals(List.of(List.of("EWR", 41.5), Arrays.asList("JFK", null)),
        query("SELECT origin, temp FROM " + table + " ORDER BY origin"));
    assertEquals(List.of(List.of("EWR")), query("SELECT origin FROM " + table + " WHERE temp > ?", 40.0));
    assertEquals(List.of(), query("SELECT origin FROM " + table + " WHERE origin = ?", "LGA"));
    assertEquals(List.of(List.of("JFK")), query("SELECT origin FROM " + table + " ORDER BY origin DESC LIMIT ?", 1L));
  }

  @Test
  void aStatementSaysWhetherItAnswersRows() throws SQLException {
    try (Statement statement = connection.createStatement()) {
      assertTrue(statement.execute("SELECT 1 AS one"));
      assertTrue(statement.getResultSet().next());
      assertEquals(-1, statement.getUpdateCount());
      assertFalse(statement.execute("INSERT INTO " + table + " VALUES ('LGA', '2013-01-01T10:00:00Z', 1)"));
      assertEquals(1, statement.getUpdateCount());
      assertFalse(statement.execute("DELETE FROM " + table + " WHERE origin = 'LGA'"));
    }
    assertEquals(List.of(List.of(2L)), query("SELECT count(*) FROM " + table));
  }

  @Test
  void aBatchIsWrittenAtOnce() throws SQLException {
    try (PreparedStatement insert = connection.prepareStatement("INSERT INTO " + table + " VALUES (?, ?, ?)")) {
      assertEquals(3, insert.getParameterMetaData().getParameterCount());
      for (int station = 0; station < 100; station++) {
        insert.setString(1, "S" + station);
        insert.setTimestamp(2, Timestamp.from(Instant.parse("2013-01-01T10:00:00.123Z")));
        insert.setDouble(3, station);
        insert.addBatch();
      }
      // The driver sends a batch as one statement, and has one count for it.
      assertArrayEquals(new int[] {100}, insert.executeBatch());
    }
    assertEquals(List.of(List.of(100L, 99.0)),
        query("SELECT count(*), max(temp) FROM " + table + " WHERE observed = '2013-01-01T10:00:00.123Z'"));
  }

  @Test
  void aPreparedStatementIsRunAgain() throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement("SELECT temp FROM " + table + " WHERE origin = ?")) {
      for (String origin : List.of("EWR", "JFK", "EWR")) {
        statement.setString(1, origin);
        try (ResultSet answer = statement.executeQuery()) {
          assertTrue(answer.next());
          assertEquals(origin.equals("EWR") ? 41.5 : 0.0, answer.getDouble("temp"));
          assertEquals(origin.equals("JFK"), answer.wasNull());
        }
      }
    }
  }

  @Test
  void aTimestampBoundsWhatIsTrueAndWhatIsKnown() throws SQLException {
    Timestamp between = Timestamp.from(Instant.parse("2013-01-01T10:30:00Z"));
    assertEquals(List.of(List.of(39.0)),
        query("SELECT temp FROM " + table + " FOR VALID_TIME AS OF ? WHERE origin = 'EWR'", between));
    assertEquals(List.of(List.of(39.0)), query("SELECT temp FROM as_of('" + table + "', ?) WHERE origin = 'EWR'", between));
    Instant first = (Instant) query("SELECT min(ingest_time) FROM history('" + table + "')").get(0).get(0);
    String knew = "SELECT temp FROM " + table + " FOR SYSTEM_TIME AS OF ? WHERE origin = 'EWR'";
    assertEquals(List.of(List.of(41.5)), query(knew, Timestamp.from(Instant.now())));
    assertEquals(List.of(), query(knew, Timestamp.from(first.minusMillis(1))));
  }

  @Test
  void theUrlAloneStandsInThePast() throws SQLException {
    String read = "SELECT temp FROM " + table + " WHERE origin = 'EWR'";
    try (Connection past = connect("&firn.as_of=2013-01-01T10:30:00Z")) {
      assertEquals(List.of(List.of(39.0)), query(past, read));
      assertEquals(List.of(List.of(39.0)), query(past, "SELECT temp FROM as_of('" + table + "', '2014-01-01') WHERE origin = 'EWR'"));
      try (Statement statement = past.createStatement()) {
        SQLException refused = assertThrows(SQLException.class,
            () -> statement.executeUpdate("INSERT INTO " + table + " VALUES ('EWR', '2013-01-01T09:00:00Z', 1)"));
        assertTrue(refused.getMessage().contains("stands in the past"), refused.getMessage());
      }
    }
    String ingested = query("SELECT CAST(min(ingest_time) AS VARCHAR) FROM history('" + table + "')").get(0).get(0).toString();
    try (Connection past = connect("&firn.known_at=" + ingested)) {
      assertEquals(List.of(List.of(39.0)), query(past, read));
    }
  }

  @Test
  void aSessionStandsInThePastUntilItIsReset() throws SQLException {
    String read = "SELECT temp FROM " + table + " WHERE origin = 'EWR'";
    update("SET firn.as_of = '2013-01-01T10:30:00Z'");
    assertEquals(List.of(List.of(39.0)), query(read));
    try (Connection other = connect("")) {
      assertEquals(List.of(List.of(41.5)), query(other, read));
    }
    update("RESET firn.as_of");
    assertEquals(List.of(List.of(41.5)), query(read));
  }

  @Test
  void theCatalogOfTheUrlIsTaken() throws SQLException {
    Connection named = connect("&catalog=firn");
    assertEquals(List.of(List.of(2L)), query(named, "SELECT count(*) FROM firn.public." + table));
    try {
      named.close();
    } catch (SQLException twice) {
      // Version 18.3.0 ends the session of such a connection twice, the second time on a closed channel.
      assertEquals("Channel shutdown invoked", twice.getMessage());
    }
    assertThrows(Exception.class, () -> connect("&catalog=elsewhere"));
  }

  @Test
  void whatIsWrongIsSaid() throws SQLException {
    for (String[] wrong : new String[][] {
        {"SELEC 1", "cannot be read"},
        {"SELECT * FROM wether", "there is no table"},
        {"SELECT nope FROM " + table, "nope"},
        {"UPDATE " + table + " SET temp = 1", "INSERT"},
        {"SELECT * FROM " + table + " FOR SYSTEM_TIME AS OF '2999-01-01'", "what will be known"}}) {
      SQLException refused = assertThrows(SQLException.class, () -> query(wrong[0]));
      assertTrue(refused.getMessage().contains(wrong[1]), wrong[0] + ": " + refused.getMessage());
    }
    assertEquals(List.of(List.of(1L)), query("SELECT 1"));
  }

  @Test
  void whatIsWrittenIsNotTakenBack() throws SQLException {
    connection.setAutoCommit(false);
    assertEquals(1, update("INSERT INTO " + table + " VALUES ('LGA', '2013-01-01T10:00:00Z', 1)"));
    connection.rollback();
    assertEquals(List.of(List.of(3L)), query("SELECT count(*) FROM " + table));
  }

  @Test
  void aQueryThatTakesTooLongEnds() throws SQLException {
    try (Statement statement = connection.createStatement()) {
      statement.setQueryTimeout(1);
      assertThrows(SQLException.class, () -> statement.executeQuery("SELECT sum(n) FROM (" + MANY + ", " + thousand()
          + " c, " + thousand() + " d)"));
    }
    assertEquals(List.of(List.of(1L)), query("SELECT 1"));
  }

  @Test
  void aLoginIsRefused() {
    SQLException refused = assertThrows(SQLException.class, () -> connect("&user=me&password=secret"));
    assertTrue(refused.getMessage().contains("connect without credentials"), refused.getMessage());
  }

  @Test
  void anErrorWithinTheRowsIsSaid() throws SQLException {
    SQLException refused =
        assertThrows(SQLException.class, () -> query("SELECT CAST(origin AS INT) FROM " + table + " WHERE origin = 'EWR'"));
    assertTrue(refused.getMessage().contains("EWR"), refused.getMessage());
  }

  @Test
  void manyRowsArrive() throws SQLException {
    try (Statement statement = connection.createStatement(); ResultSet answer = statement.executeQuery(MANY)) {
      long rows = 0;
      while (answer.next()) {
        rows++;
      }
      assertEquals(1_000_000, rows);
    }
  }

  @Test
  void anAnswerIsClosedBeforeItsEnd() throws SQLException {
    for (int round = 0; round < 20; round++) {
      try (Statement statement = connection.createStatement(); ResultSet answer = statement.executeQuery(MANY)) {
        assertTrue(answer.next());
      }
    }
    assertEquals(List.of(List.of(1L)), query("SELECT 1"));
  }

  @Test
  void aStatementIsCancelled() throws Exception {
    try (Statement statement = connection.createStatement()) {
      ResultSet answer = statement.executeQuery(MANY + ", " + thousand() + " c");
      assertTrue(answer.next());
      Thread canceller = new Thread(() -> {
        try {
          Thread.sleep(100);
          statement.cancel();
        } catch (InterruptedException | SQLException failed) {
          throw new AssertionError(failed);
        }
      });
      canceller.start();
      assertThrows(Exception.class, () -> {
        while (answer.next()) {
          answer.getLong(1);
        }
      });
      canceller.join();
    }
    assertEquals(List.of(List.of(1L)), query("SELECT 1"));
  }
}
