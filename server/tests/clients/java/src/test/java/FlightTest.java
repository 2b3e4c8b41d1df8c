// Any Flight client, in any language: FirnDB driven from Java by Arrow Flight alone, with no code of ours.

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.arrow.flight.Action;
import org.apache.arrow.flight.FlightClient;
import org.apache.arrow.flight.FlightDescriptor;
import org.apache.arrow.flight.FlightInfo;
import org.apache.arrow.flight.FlightRuntimeException;
import org.apache.arrow.flight.FlightStatusCode;
import org.apache.arrow.flight.FlightStream;
import org.apache.arrow.flight.Location;
import org.apache.arrow.flight.PutResult;
import org.apache.arrow.flight.SyncPutListener;
import org.apache.arrow.flight.Ticket;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.Float8Vector;
import org.apache.arrow.vector.TimeStampMicroTZVector;
import org.apache.arrow.vector.VarCharVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class FlightTest {
  private Server server;
  private BufferAllocator allocator;
  private FlightClient client;

  /** Starts a server over an empty directory, and connects. */
  @BeforeEach
  void serve() throws Exception {
    server = new Server();
    allocator = new RootAllocator();
    client = FlightClient.builder(allocator, Location.forGrpcInsecure(server.host, server.port)).build();
    assertTrue(act("create_entity", "{'entity':'airport','key':[{'name':'origin','type':'utf8'}]}").contains("airport"));
    assertTrue(act("create_table", "{'table':'weather','entity':'airport','event_time':'observed',"
        + "'features':[{'name':'temp','type':'float64'}]}").contains("\"table\":\"weather\""));
  }

  /** Everything that Arrow gave is given back: the allocator says so when it is closed. */
  @AfterEach
  void stop() throws Exception {
    client.close();
    allocator.close();
    server.close();
  }

  @Test
  void whatIsWrittenIsLookedUpJoinedAndScanned() throws Exception {
    assertTrue(write(new String[] {"EWR", "EWR", "JFK"}, new long[] {1, 3, 2}, new double[] {1.5, 3.5, 2.5})
        .contains("\"rows\":3"));
    assertEquals(Arrays.asList(2.5, 3.5, null),
        exchange("{'lookup':{'features':['weather.temp']}}", new String[] {"JFK", "EWR", "LGA"}, null));
    assertEquals(Arrays.asList(1.5, 2.5, null),
        exchange("{'join':{'features':['weather.temp'],'as_of':{'column':'at'}}}",
            new String[] {"EWR", "JFK", "JFK"}, new long[] {2, 2, 1}));
    assertEquals(List.of(1.5),
        get("{'lookup':{'features':['weather.temp'],'as_of':{'us':2},'entities':{'origin':['EWR']}}}"));
    FlightInfo info = client.getInfo(FlightDescriptor.command(json("{'scan':{'table':'weather'}}")));
    assertEquals("temp", info.getSchema().getFields().get(1).getName());
    List<Double> scanned = new ArrayList<>();
    for (var endpoint : info.getEndpoints()) {
      scanned.addAll(temperatures(client.getStream(endpoint.getTicket())));
    }
    scanned.sort(null);
    assertEquals(List.of(2.5, 3.5), scanned);
  }

  @Test
  void whatIsWrongIsNamed() {
    FlightRuntimeException refused =
        assertThrows(FlightRuntimeException.class, () -> get("{'scan':{'table':'wether'}}"));
    assertEquals(FlightStatusCode.NOT_FOUND, refused.status().code());
    assertTrue(refused.getMessage().contains("wether"), refused.getMessage());
    refused = assertThrows(FlightRuntimeException.class,
        () -> exchange("{'lookup':{'features':['weather.tmep']}}", new String[] {"EWR"}, null));
    assertEquals(FlightStatusCode.NOT_FOUND, refused.status().code());
    assertTrue(refused.getMessage().contains("tmep"), refused.getMessage());
  }

  private static byte[] json(String singleQuoted) {
    return singleQuoted.replace('\'', '"').getBytes(UTF_8);
  }

  private String act(String name, String body) {
    return new String(client.doAction(new Action(name, json(body))).next().getBody(), UTF_8);
  }

  /** Writes rows; the acknowledgement. */
  private String write(String[] origins, long[] times, double[] temps) throws Exception {
    try (VarCharVector origin = texts(origins); TimeStampMicroTZVector observed = times("observed", times);
        Float8Vector temp = new Float8Vector("temp", allocator)) {
      for (int row = 0; row < temps.length; row++) {
        temp.setSafe(row, temps[row]);
      }
      temp.setValueCount(temps.length);
      VectorSchemaRoot rows = VectorSchemaRoot.of(origin, observed, temp);
      try (SyncPutListener acknowledgements = new SyncPutListener()) {
        var stream = client.startPut(FlightDescriptor.command(json("{'write':{'table':'weather'}}")), rows,
            acknowledgements);
        stream.putNext();
        stream.completed();
        try (PutResult acknowledged = acknowledgements.read()) {
          byte[] metadata = new byte[(int) acknowledged.getApplicationMetadata().readableBytes()];
          acknowledged.getApplicationMetadata().getBytes(0, metadata);
          return new String(metadata, UTF_8);
        }
      }
    }
  }

  /** The temperatures that a command answers for rows of entities, with times if there are any. */
  private List<Double> exchange(String command, String[] origins, long[] at) throws Exception {
    try (VarCharVector origin = texts(origins);
        TimeStampMicroTZVector times = times("at", at == null ? new long[origins.length] : at);
        var exchange = client.doExchange(FlightDescriptor.command(json(command)))) {
      VectorSchemaRoot rows = at == null ? VectorSchemaRoot.of(origin) : VectorSchemaRoot.of(origin, times);
      rows.setRowCount(origins.length);
      exchange.getWriter().start(rows);
      exchange.getWriter().putNext();
      exchange.getWriter().completed();
      return temperatures(exchange.getReader());
    }
  }

  private List<Double> get(String ticket) throws Exception {
    return temperatures(client.getStream(new Ticket(json(ticket))));
  }

  /** Reads one answer to its end: a value, or null. */
  private List<Double> temperatures(FlightStream stream) throws Exception {
    try (stream) {
      List<Double> found = new ArrayList<>();
      while (stream.next()) {
        var temps = stream.getRoot().getVector("weather.temp");
        var column = (Float8Vector) (temps == null ? stream.getRoot().getVector("temp") : temps);
        for (int row = 0; row < column.getValueCount(); row++) {
          found.add(column.getObject(row));
        }
      }
      return found;
    }
  }

  private VarCharVector texts(String[] values) {
    VarCharVector vector = new VarCharVector("origin", allocator);
    for (int row = 0; row < values.length; row++) {
      vector.setSafe(row, values[row].getBytes(UTF_8));
    }
    vector.setValueCount(values.length);
    return vector;
  }

  private TimeStampMicroTZVector times(String name, long[] values) {
    TimeStampMicroTZVector vector = new TimeStampMicroTZVector(name, allocator, "UTC");
    for (int row = 0; row < values.length; row++) {
      vector.setSafe(row, values[row]);
    }
    vector.setValueCount(values.length);
    return vector;
  }
}
