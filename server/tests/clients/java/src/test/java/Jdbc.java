// What the tests of JDBC share: a server, connections to it, and rows as lists.

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
abstract class Jdbc {
  static Server server;
  Connection connection;

  @BeforeAll
  static void serve() throws Exception {
    server = new Server();
  }

  @AfterAll
  static void end() throws Exception {
    server.close();
  }

  @BeforeEach
  void open() throws SQLException {
    connection = connect("");
  }

  @AfterEach
  void close() throws SQLException {
    connection.close();
  }

  /** A connection with more parameters in its URL, each with a `&` before it. */
  static Connection connect(String parameters) throws SQLException {
    return DriverManager.getConnection(url(parameters));
  }

  static String url(String parameters) {
    return "jdbc:arrow-flight-sql://" + server.host + ":" + server.port + "/?useEncryption=false" + parameters;
  }

  /** Runs a statement that answers no rows; how many rows it changed. */
  int update(String statement) throws SQLException {
    try (Statement opened = connection.createStatement()) {
      return opened.executeUpdate(statement);
    }
  }

  /** The rows that a statement answers. */
  List<List<Object>> query(String statement) throws SQLException {
    return query(connection, statement);
  }

  static List<List<Object>> query(Connection connection, String statement) throws SQLException {
    try (Statement opened = connection.createStatement(); ResultSet answer = opened.executeQuery(statement)) {
      return rows(answer);
    }
  }

  /** The rows that a prepared statement answers with these values. */
  List<List<Object>> query(String statement, Object... values) throws SQLException {
    try (PreparedStatement prepared = connection.prepareStatement(statement)) {
      for (int number = 0; number < values.length; number++) {
        prepared.setObject(number + 1, values[number]);
      }
      try (ResultSet answer = prepared.executeQuery()) {
        return rows(answer);
      }
    }
  }

  static List<List<Object>> rows(ResultSet answer) throws SQLException {
    List<List<Object>> rows = new ArrayList<>();
    int columns = answer.getMetaData().getColumnCount();
    while (answer.next()) {
      List<Object> row = new ArrayList<>();
      for (int column = 1; column <= columns; column++) {
        row.add(value(answer, column));
      }
      rows.add(row);
    }
    return rows;
  }

  /** A value; the driver has no object of its own for a moment, but gives it when it is named. */
  static Object value(ResultSet answer, int column) throws SQLException {
    return answer.getMetaData().getColumnType(column) == Types.TIMESTAMP_WITH_TIMEZONE
        ? answer.getObject(column, Instant.class)
        : answer.getObject(column);
  }
}
