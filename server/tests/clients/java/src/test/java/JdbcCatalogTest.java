// What is declared and what the server is, as tools ask the JDBC driver of Flight SQL for it.

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.reflect.Method;
import java.sql.DatabaseMetaData;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class JdbcCatalogTest extends Jdbc {
  private DatabaseMetaData about;

  @BeforeAll
  static void declare() throws Exception {
    try (var connection = connect(""); Statement statement = connection.createStatement()) {
      statement.executeUpdate("CREATE TABLE weather (origin VARCHAR PRIMARY KEY, observed TIMESTAMP NOT NULL, "
          + "temp DOUBLE COMMENT 'degrees', price DECIMAL(12, 3)) WITH (entity = 'airport')");
      statement.executeUpdate("CREATE TABLE flights (origin VARCHAR, number BIGINT, left_at TIMESTAMP NOT NULL, late BOOLEAN, "
          + "PRIMARY KEY (origin, number))");
    }
  }

  @BeforeEach
  void ask() throws SQLException {
    about = connection.getMetaData();
  }

  private static List<String> column(ResultSet answer, String name) throws SQLException {
    List<String> found = new ArrayList<>();
    try (answer) {
      while (answer.next()) {
        found.add(answer.getString(name));
      }
    }
    return found;
  }

  @Test
  void theServerIsNamed() throws SQLException {
    assertEquals("FirnDB", about.getDatabaseProductName());
    assertTrue(about.getDatabaseProductVersion().matches("\\d+\\.\\d+\\.\\d+"), about.getDatabaseProductVersion());
    assertEquals("\"", about.getIdentifierQuoteString());
    assertFalse(about.isReadOnly());
    assertFalse(about.supportsTransactions());
    assertTrue(about.supportsColumnAliasing());
    assertTrue(about.supportsGroupBy());
    assertTrue(about.supportsUnion());
    assertTrue(about.supportsOuterJoins());
    assertTrue(about.supportsCorrelatedSubqueries());
    assertTrue(about.getSQLKeywords().length() > 0);
  }

  /** A driver that is not told something fails with no word of what it misses: tools ask all of it when they connect. */
  @Test
  void whatIsAskedOfTheServerIsKnown() {
    List<String> unknown = new ArrayList<>();
    for (Method asked : DatabaseMetaData.class.getMethods()) {
      if (asked.getParameterCount() == 0 && List.of(boolean.class, int.class, String.class).contains(asked.getReturnType())) {
        try {
          asked.invoke(about);
        } catch (ReflectiveOperationException failed) {
          unknown.add(asked.getName() + ": " + failed.getCause());
        }
      }
    }
    assertEquals(List.of(), unknown);
  }

  @Test
  void catalogsAndSchemasAreFound() throws SQLException {
    assertEquals(List.of("firn"), column(about.getCatalogs(), "TABLE_CAT"));
    assertTrue(column(about.getSchemas(), "TABLE_SCHEM").contains("public"));
    assertEquals(List.of("public"), column(about.getSchemas("firn", "pub%"), "TABLE_SCHEM"));
    assertEquals(List.of(), column(about.getSchemas("other", null), "TABLE_SCHEM"));
    assertTrue(column(about.getTableTypes(), "TABLE_TYPE").contains("TABLE"));
  }

  @Test
  void tablesAreFoundByPatterns() throws SQLException {
    assertEquals(List.of("flights", "weather"), column(about.getTables(null, "public", null, null), "TABLE_NAME"));
    assertEquals(List.of("flights", "weather"), column(about.getTables(null, null, null, new String[] {"TABLE"}), "TABLE_NAME"));
    assertEquals(List.of("weather"), column(about.getTables("firn", "public", "weat%", new String[] {"TABLE"}), "TABLE_NAME"));
    assertEquals(List.of("weather"), column(about.getTables(null, null, "w_ather", null), "TABLE_NAME"));
    assertEquals(List.of(), column(about.getTables(null, null, "w\\_ather", null), "TABLE_NAME"));
    assertEquals(List.of(), column(about.getTables("other", null, null, null), "TABLE_NAME"));
    assertEquals(List.of(), column(about.getTables(null, null, null, new String[] {"VIEW"}), "TABLE_NAME"));
    try (ResultSet tables = about.getTables(null, null, "weather", null)) {
      assertTrue(tables.next());
      assertEquals(List.of("firn", "public", "TABLE"),
          List.of(tables.getString("TABLE_CAT"), tables.getString("TABLE_SCHEM"), tables.getString("TABLE_TYPE")));
    }
  }

  @Test
  void columnsAreDescribed() throws SQLException {
    try (ResultSet columns = about.getColumns(null, null, "weather", null)) {
      for (Object[] expected : new Object[][] {
          {"origin", Types.VARCHAR, DatabaseMetaData.columnNoNulls},
          {"observed", Types.TIMESTAMP_WITH_TIMEZONE, DatabaseMetaData.columnNoNulls},
          {"temp", Types.DOUBLE, DatabaseMetaData.columnNullable},
          {"price", Types.DECIMAL, DatabaseMetaData.columnNullable}}) {
        assertTrue(columns.next());
        assertEquals(expected[0], columns.getString("COLUMN_NAME"));
        assertEquals("weather", columns.getString("TABLE_NAME"));
        assertEquals("public", columns.getString("TABLE_SCHEM"));
        assertEquals(expected[1], columns.getInt("DATA_TYPE"), columns.getString("COLUMN_NAME"));
        assertEquals(expected[2], columns.getInt("NULLABLE"), columns.getString("COLUMN_NAME"));
        if (expected[0].equals("price")) {
          assertEquals(12, columns.getInt("COLUMN_SIZE"));
          assertEquals(3, columns.getInt("DECIMAL_DIGITS"));
        }
        if (expected[0].equals("temp")) {
          assertEquals("degrees", columns.getString("REMARKS"));
        }
      }
      assertFalse(columns.next());
    }
    assertEquals(List.of("late", "left_at"), column(about.getColumns("firn", "public", "fl%", "l%"), "COLUMN_NAME").stream().sorted().toList());
  }

  @Test
  void keysAreFound() throws SQLException {
    try (ResultSet keys = about.getPrimaryKeys("firn", "public", "flights")) {
      assertTrue(keys.next());
      assertEquals(List.of("origin", 1), List.of(keys.getString("COLUMN_NAME"), keys.getInt("KEY_SEQ")));
      assertTrue(keys.next());
      assertEquals(List.of("number", 2), List.of(keys.getString("COLUMN_NAME"), keys.getInt("KEY_SEQ")));
      assertFalse(keys.next());
    }
    assertEquals(List.of("origin"), column(about.getPrimaryKeys(null, null, "weather"), "COLUMN_NAME"));
    assertEquals(List.of(), column(about.getPrimaryKeys(null, null, "nothing"), "COLUMN_NAME"));
    assertEquals(List.of(), column(about.getImportedKeys("firn", "public", "flights"), "PKTABLE_NAME"));
    assertEquals(List.of(), column(about.getExportedKeys("firn", "public", "flights"), "PKTABLE_NAME"));
    assertEquals(List.of(), column(about.getCrossReference(null, null, "weather", null, null, "flights"), "PKTABLE_NAME"));
  }

  @Test
  void whatToolsAskBesidesIsAnswered() throws SQLException {
    assertEquals(List.of(), column(about.getIndexInfo(null, null, "weather", false, true), "INDEX_NAME"));
    assertEquals(List.of(), column(about.getProcedures(null, null, null), "PROCEDURE_NAME"));
    // The driver asks the server for no types.
    assertEquals(List.of(), column(about.getTypeInfo(), "TYPE_NAME"));
    assertTrue(connection.isValid(5));
    assertTrue(connection.getAutoCommit());
  }
}
