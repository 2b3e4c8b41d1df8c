// The Go blocks of docs/connect.md run as they stand, and print what the page says that they print.
package clients

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

func TestThePageRunsAsItIsWritten(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/connect.md")
	check(t, err)
	blocks := regexp.MustCompile("(?ms)^```go\n(.*?)^```\n\n^```text\n(.*?)^```$").FindAllStringSubmatch(string(page), -1)
	if len(blocks) == 0 {
		t.Fatal("the page has no block in Go with what it prints")
	}
	for _, block := range blocks {
		program := filepath.Join(t.TempDir(), "main.go")
		check(t, os.WriteFile(program, []byte(strings.ReplaceAll(block[1], "127.0.0.1:3476", serve(t))), 0o600))
		printed, err := exec.Command("go", "run", program).CombinedOutput()
		if err != nil || string(printed) != block[2] {
			t.Errorf("the block prints\n%s\nand the page says\n%s\n%v", printed, block[2], err)
		}
	}
}

// What Grafana's Flight SQL plugin sends, by the client that it is built on; the statements are those of the page, with the
// macros as Grafana fills them in.
func TestGrafanaIsAnswered(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/connect.md")
	check(t, err)
	macros := strings.NewReplacer(
		"$__timeFilter(observed)", `observed >= '2013-01-01T00:00:00Z' AND observed <= '2013-01-02T00:00:00Z'`,
		"$__dateBin(observed)", `date_bin(interval '3600 second', observed, timestamp '1970-01-01T00:00:00Z')`,
	)
	client := connect(t, serve(t))
	weather(t, client)
	ctx := deadline(t)
	expect(t, ctx, client, "select 1", "1")
	statements := regexp.MustCompile("(?ms)^```sql\n(.*?)^```$").FindAllStringSubmatch(string(page), -1)
	if len(statements) != 2 {
		t.Fatalf("the page has %d statements for Grafana", len(statements))
	}
	for number, rows := range [][]string{
		{"2013-01-01T10:00:00Z|39", "2013-01-01T11:00:00Z|41.5"},
		{"2013-01-01T10:00:00Z|39", "2013-01-01T11:00:00Z|41.5"},
	} {
		info, err := client.Execute(ctx, macros.Replace(statements[number][1]))
		check(t, err)
		if len(info.Endpoint) != 1 {
			t.Fatalf("there are %d endpoints, and Grafana reads one", len(info.Endpoint))
		}
		schema, err := flight.DeserializeSchema(info.Schema, memory.DefaultAllocator)
		check(t, err)
		time := schema.Field(0)
		if time.Name != "time" || time.Type.(*arrow.TimestampType).Unit != arrow.Nanosecond {
			t.Fatalf("the time is told as %v", time)
		}
		found, err := fetch(t, ctx, client, info)
		check(t, err)
		if !slices.Equal(found, rows) {
			t.Fatalf("%s answered %q", statements[number][1], found)
		}
	}
	// Its list of tables and of their columns, and what the server is.
	tables, err := client.GetTables(ctx, &flightsql.GetTablesOpts{TableTypes: []string{"BASE TABLE"}})
	check(t, err)
	found, err := fetch(t, ctx, client, tables)
	check(t, err)
	if !slices.Equal(found, []string{"firn|public|weather|TABLE"}) {
		t.Errorf("the tables are %q", found)
	}
	all, err := client.GetSqlInfo(ctx, []flightsql.SqlInfo{})
	check(t, err)
	if said, err := fetch(t, ctx, client, all); err != nil || len(said) < 20 {
		t.Errorf("the server is %q: %v", said, err)
	}
}
