// Any Flight client, in any language: FirnDB driven from Go by arrow-go alone, with no code of ours.
//
// FIRN_BINARY names the server to start.
package clients

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// serve starts a server over an empty directory and answers its address.
func serve(t *testing.T) string {
	t.Helper()
	command := exec.Command(os.Getenv("FIRN_BINARY"), "serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0",
		"--metrics", "off", "--log-json")
	log, err := command.StderrPipe()
	check(t, err)
	check(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Signal(os.Interrupt)
		_ = command.Wait()
	})
	address := regexp.MustCompile(`"address":"([^"]+)"`)
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if found := address.FindStringSubmatch(lines.Text()); found != nil {
			// What else the server says must not fill the pipe.
			go func() { _, _ = io.Copy(io.Discard, log) }()
			return found[1]
		}
	}
	t.Fatal("the server ended before it served")
	return ""
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func act(t *testing.T, client flight.Client, name, body string) map[string]any {
	t.Helper()
	results, err := client.DoAction(deadline(t), &flight.Action{Type: name, Body: []byte(body)})
	check(t, err)
	result, err := results.Recv()
	check(t, err)
	answer := map[string]any{}
	check(t, json.Unmarshal(result.Body, &answer))
	return answer
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	bounded, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return bounded
}

func command(body string) *flight.FlightDescriptor {
	return &flight.FlightDescriptor{Type: flight.DescriptorCMD, Cmd: []byte(body)}
}

var keySchema = arrow.NewSchema([]arrow.Field{{Name: "origin", Type: arrow.BinaryTypes.String}}, nil)

func keys(origins ...string) arrow.RecordBatch {
	builder := array.NewRecordBuilder(memory.DefaultAllocator, keySchema)
	builder.Field(0).(*array.StringBuilder).AppendValues(origins, nil)
	return builder.NewRecordBatch()
}

// temperatures reads one answer to its end: a value, or "" for a null.
func temperatures(t *testing.T, stream flight.DataStreamReader) []string {
	t.Helper()
	reader, err := flight.NewRecordReader(stream)
	check(t, err)
	var found []string
	for reader.Next() {
		column := reader.RecordBatch().Column(0)
		for row := range column.Len() {
			if column.IsNull(row) {
				found = append(found, "")
			} else {
				found = append(found, column.ValueStr(row))
			}
		}
	}
	if err := reader.Err(); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return found
}

func TestWhatIsWrittenIsLookedUp(t *testing.T) {
	client, err := flight.NewClientWithMiddleware(serve(t), nil, nil,
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(t, err)
	defer client.Close()

	act(t, client, "create_entity", `{"entity":"airport","key":[{"name":"origin","type":"utf8"}]}`)
	declared := act(t, client, "create_table", `{"table":"weather","entity":"airport","event_time":"observed",
		"features":[{"name":"temp","type":"float64"}]}`)
	if declared["table"] != "weather" {
		t.Fatalf("create_table answered %v", declared)
	}

	schema := arrow.NewSchema([]arrow.Field{
		{Name: "origin", Type: arrow.BinaryTypes.String},
		{Name: "observed", Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}},
		{Name: "temp", Type: arrow.PrimitiveTypes.Float64},
	}, nil)
	builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	builder.Field(0).(*array.StringBuilder).AppendValues([]string{"EWR", "EWR", "JFK"}, nil)
	builder.Field(1).(*array.TimestampBuilder).AppendValues([]arrow.Timestamp{1, 3, 2}, nil)
	builder.Field(2).(*array.Float64Builder).AppendValues([]float64{1.5, 3.5, 2.5}, nil)
	put, err := client.DoPut(deadline(t))
	check(t, err)
	writer := flight.NewRecordWriter(put, ipc.WithSchema(schema))
	writer.SetFlightDescriptor(command(`{"write":{"table":"weather"}}`))
	check(t, writer.Write(builder.NewRecordBatch()))
	check(t, writer.Close())
	check(t, put.CloseSend())
	acknowledged, err := put.Recv()
	check(t, err)
	if !strings.Contains(string(acknowledged.AppMetadata), `"rows":3`) {
		t.Fatalf("acknowledged: %s", acknowledged.AppMetadata)
	}

	expect := func(how string, found []string, expected ...string) {
		t.Helper()
		if strings.Join(found, "|") != strings.Join(expected, "|") {
			t.Fatalf("%s answered %q, not %q", how, found, expected)
		}
	}
	exchange, err := client.DoExchange(deadline(t))
	check(t, err)
	asking := flight.NewRecordWriter(exchange, ipc.WithSchema(keySchema))
	asking.SetFlightDescriptor(command(`{"lookup":{"features":["weather.temp"]}}`))
	check(t, asking.Write(keys("JFK", "EWR", "LGA")))
	check(t, asking.Close())
	check(t, exchange.CloseSend())
	expect("DoExchange", temperatures(t, exchange), "2.5", "3.5", "")

	ticket := `{"lookup":{"features":["weather.temp"],"as_of":{"us":2},"entities":{"origin":["EWR"]}}}`
	got, err := client.DoGet(deadline(t), &flight.Ticket{Ticket: []byte(ticket)})
	check(t, err)
	expect("DoGet", temperatures(t, got), "1.5")

	refused, err := client.DoGet(deadline(t), &flight.Ticket{Ticket: []byte(`{"scan":{"table":"wether"}}`)})
	if err == nil {
		_, err = refused.Recv()
	}
	if status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "wether") {
		t.Fatalf("an unknown table answered %v", err)
	}
}
