// Every type of a feature through the JDBC driver of Flight SQL: as it is told, as it is read, as a parameter.

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.math.BigDecimal;
import java.sql.Date;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Time;
import java.sql.Timestamp;
import java.sql.Types;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.util.Arrays;
import java.util.List;
import java.util.TimeZone;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class JdbcTypesTest extends Jdbc {
  private static final Instant MOMENT = Instant.parse("2013-01-01T10:30:00.123Z");

  private static final Time TIME = new Time(MOMENT.toEpochMilli() % 86_400_000);

  /** A type by its name in SQL, a literal of it, what JDBC tells of it, and the value that is read. */
  private record Told(String name, String literal, int number, Object value) {}

  private static final List<Told> SCALARS = List.of(
      new Told("BOOLEAN", "TRUE", Types.BOOLEAN, true),
      new Told("TINYINT", "-8", Types.TINYINT, (byte) -8),
      new Told("SMALLINT", "-16000", Types.SMALLINT, (short) -16000),
      new Told("INT", "-2000000000", Types.INTEGER, -2000000000),
      new Told("BIGINT", "-9000000000000000000", Types.BIGINT, -9000000000000000000L),
      // JDBC has no unsigned types: a value above the signed one's greatest would be read as a negative one.
      new Told("TINYINT UNSIGNED", "100", Types.TINYINT, (byte) 100),
      new Told("SMALLINT UNSIGNED", "30000", Types.SMALLINT, (short) 30000),
      new Told("INT UNSIGNED", "2000000000", Types.INTEGER, 2000000000),
      new Told("BIGINT UNSIGNED", "9000000000000000000", Types.BIGINT, 9000000000000000000L),
      new Told("REAL", "1.5", Types.FLOAT, 1.5),
      new Told("DOUBLE", "2.25", Types.DOUBLE, 2.25),
      new Told("DECIMAL(12, 3)", "123456789.125", Types.DECIMAL, new BigDecimal("123456789.125")),
      new Told("VARCHAR", "'é😀'", Types.VARCHAR, "é😀"),
      new Told("BYTEA", "X'00ff'", Types.VARBINARY, new byte[] {0, -1}),
      new Told("BINARY(3)", "X'616263'", Types.BINARY, "abc".getBytes(UTF_8)),
      new Told("DATE", "'2013-01-01'", Types.DATE, Date.valueOf("2013-01-01")),
      new Told("TIME", "'10:30:00.123'", Types.TIME, null),
      new Told("TIMESTAMP", "'2013-01-01T10:30:00.123'", Types.TIMESTAMP, Timestamp.valueOf("2013-01-01 10:30:00.123")),
      new Told("TIMESTAMP WITH TIME ZONE", "'2013-01-01T10:30:00.123Z'", Types.TIMESTAMP_WITH_TIMEZONE,
          Timestamp.from(MOMENT)));

  @BeforeAll
  static void declare() throws Exception {
    StringBuilder columns = new StringBuilder();
    StringBuilder values = new StringBuilder();
    for (int number = 0; number < SCALARS.size(); number++) {
      columns.append(", c").append(number).append(" ").append(SCALARS.get(number).name);
      values.append(", ").append(SCALARS.get(number).literal);
    }
    columns.append(", embedding FLOAT[3], numbers BIGINT[], parts STRUCT<a BIGINT, b VARCHAR>, counts MAP(VARCHAR, BIGINT)");
    try (var connection = connect(""); Statement statement = connection.createStatement()) {
      statement.executeUpdate("CREATE TABLE types (k BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL" + columns + ")");
      statement.executeUpdate("INSERT INTO types SELECT 1, TIMESTAMP '2013-01-01T10:30:00.123456'" + values
          + ", [1, 2, 3], [4, NULL], {a: 5, b: 'x'}, MAP {'k': 6}");
      statement.executeUpdate("INSERT INTO types (k, at) VALUES (2, '2013-01-01T10:30:00Z')");
    }
  }

  @Test
  void eachIsToldAndRead() throws SQLException {
    for (int number = 0; number < SCALARS.size(); number++) {
      Told told = SCALARS.get(number);
      try (Statement statement = connection.createStatement();
          ResultSet answer = statement.executeQuery("SELECT c" + number + " FROM types ORDER BY k")) {
        ResultSetMetaData columns = answer.getMetaData();
        assertEquals("c" + number, columns.getColumnLabel(1));
        assertEquals(told.number, columns.getColumnType(1), told.name);
        assertTrue(answer.next());
        Object value = value(answer, 1);
        switch (told.name) {
          case "BYTEA", "BINARY(3)" -> assertArrayEquals((byte[]) told.value, (byte[]) value, told.name);
          case "TIME" -> assertEquals("10:30:00.123", answer.getTime(1).toString());
          case "TIMESTAMP WITH TIME ZONE" -> {
            assertEquals(MOMENT, value);
            assertEquals(told.value, answer.getTimestamp(1));
          }
          default -> assertEquals(told.value, value, told.name);
        }
        assertTrue(answer.next());
        assertNull(value(answer, 1), told.name);
      }
    }
  }

  @Test
  void theEventTimeIsAMoment() throws SQLException {
    try (Statement statement = connection.createStatement();
        ResultSet answer = statement.executeQuery("SELECT at FROM types WHERE k = 1")) {
      assertTrue(answer.next());
      assertEquals(Types.TIMESTAMP_WITH_TIMEZONE, answer.getMetaData().getColumnType(1));
      Instant moment = Instant.parse("2013-01-01T10:30:00.123456Z");
      assertEquals(Timestamp.from(moment), answer.getTimestamp(1));
      // In another zone than UTC the driver gives another moment, unless it is asked for one that has a zone.
      TimeZone here = TimeZone.getDefault();
      TimeZone.setDefault(TimeZone.getTimeZone("America/New_York"));
      try {
        assertEquals(moment, answer.getObject(1, Instant.class));
        assertEquals(moment, answer.getObject(1, OffsetDateTime.class).toInstant());
      } finally {
        TimeZone.setDefault(here);
      }
    }
  }

  @Test
  void whatIsUnsignedIsCast() throws SQLException {
    String wide = "SELECT CAST(CAST(4000000000 AS INT UNSIGNED) AS BIGINT), "
        + "CAST(CAST(18000000000000000000 AS BIGINT UNSIGNED) AS DECIMAL(20, 0))";
    assertEquals(List.of(List.of(4000000000L, new BigDecimal("18000000000000000000"))), query(wide));
  }

  @Test
  void digitsAreTold() throws SQLException {
    try (Statement statement = connection.createStatement();
        ResultSet answer = statement.executeQuery("SELECT c11 FROM types")) {
      assertEquals(12, answer.getMetaData().getPrecision(1));
      assertEquals(3, answer.getMetaData().getScale(1));
    }
  }

  @Test
  void whatHasPartsIsRead() throws SQLException {
    try (Statement statement = connection.createStatement();
        ResultSet answer = statement.executeQuery("SELECT embedding, numbers, parts, counts FROM types ORDER BY k")) {
      assertTrue(answer.next());
      assertArrayEquals(new Object[] {1f, 2f, 3f}, (Object[]) answer.getArray(1).getArray());
      assertEquals(Types.ARRAY, answer.getMetaData().getColumnType(1));
      assertArrayEquals(new Object[] {4L, null}, (Object[]) answer.getArray(2).getArray());
      assertEquals("{\"a\":5,\"b\":\"x\"}", answer.getObject(3).toString());
      assertEquals("{\"k\":6}", answer.getObject(4).toString());
      assertTrue(answer.next());
      for (int column = 1; column <= 4; column++) {
        assertNull(answer.getObject(column));
      }
    }
  }

  @Test
  void eachIsFoundByItsValue() throws SQLException {
    for (int number = 0; number < SCALARS.size(); number++) {
      Told told = SCALARS.get(number);
      String asked = "SELECT k FROM types WHERE c" + number + " = ? ORDER BY k";
      try (PreparedStatement statement = connection.prepareStatement(asked)) {
        switch (told.name) {
          case "TIME" -> statement.setTime(1, TIME);
          default -> statement.setObject(1, told.value);
        }
        try (ResultSet answer = statement.executeQuery()) {
          assertTrue(answer.next(), told.name);
          assertEquals(1, answer.getLong(1), told.name);
        }
      } catch (SQLException | RuntimeException failed) {
        throw new AssertionError(told.name + ": " + failed, failed);
      }
    }
  }

  @Test
  void eachIsWrittenByItsValue() throws SQLException {
    String columns = String.join(", ", java.util.stream.IntStream.range(0, SCALARS.size()).mapToObj(n -> "c" + n).toList());
    String marks = ", ?".repeat(SCALARS.size());
    try (PreparedStatement insert = connection.prepareStatement(
        "INSERT INTO types (k, at, " + columns + ") VALUES (?, ?" + marks + ")")) {
      for (long key = 10; key < 12; key++) {
        insert.setLong(1, key);
        insert.setTimestamp(2, Timestamp.from(MOMENT));
        for (int number = 0; number < SCALARS.size(); number++) {
          Told told = SCALARS.get(number);
          int parameter = number + 3;
          if (key == 11) {
            insert.setNull(parameter, told.number);
          } else {
            switch (told.name) {
              case "TIME" -> insert.setTime(parameter, TIME);
              default -> insert.setObject(parameter, told.value);
            }
          }
        }
        assertEquals(1, insert.executeUpdate());
      }
    }
    List<Object> literal = query("SELECT " + columns + " FROM types WHERE k = 1").get(0);
    List<Object> bound = query("SELECT " + columns + " FROM types WHERE k = 10").get(0);
    for (int number = 0; number < SCALARS.size(); number++) {
      assertEquals(Arrays.deepToString(new Object[] {literal.get(number)}),
          Arrays.deepToString(new Object[] {bound.get(number)}), SCALARS.get(number).name);
    }
    assertTrue(query("SELECT " + columns + " FROM types WHERE k = 11").get(0).stream().allMatch(value -> value == null));
    assertEquals(List.of(List.of(1L)), query("SELECT count(*) FROM types WHERE k = 10 AND at = TIMESTAMP '2013-01-01T10:30:00.123Z'"));
  }

  @Test
  void parametersAreTold() throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement(
        "SELECT k FROM types FOR VALID_TIME AS OF ? WHERE c12 = ? AND c4 > ? LIMIT ?")) {
      var parameters = statement.getParameterMetaData();
      assertEquals(4, parameters.getParameterCount());
      assertEquals(List.of(Types.TIMESTAMP_WITH_TIMEZONE, Types.VARCHAR, Types.BIGINT, Types.BIGINT),
          List.of(parameters.getParameterType(1), parameters.getParameterType(2), parameters.getParameterType(3),
              parameters.getParameterType(4)));
    }
  }
}
