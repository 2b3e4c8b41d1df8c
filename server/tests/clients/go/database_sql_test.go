// database/sql of Go over Flight SQL, by the driver that arrow-go brings.
package clients

import (
	"context"
	"database/sql"
	"net/url"
	"strings"
	"testing"
	"time"

	_ "github.com/apache/arrow-go/v18/arrow/flight/flightsql/driver"
)

// open opens a database with more parameters in its name.
func open(t *testing.T, address string, parameters url.Values) *sql.DB {
	t.Helper()
	parameters.Set("timeout", "60s")
	database, err := sql.Open("flightsql", "flightsql://"+address+"?"+parameters.Encode())
	check(t, err)
	t.Cleanup(func() { _ = database.Close() })
	return database
}

func TestDatabaseSQL(t *testing.T) {
	address := serve(t)
	weather(t, connect(t, address))
	database := open(t, address, url.Values{})

	var origin string
	var temp sql.NullFloat64
	var observed time.Time
	read := `SELECT origin, observed, temp FROM weather WHERE origin = $1`
	check(t, database.QueryRow(read, "EWR").Scan(&origin, &observed, &temp))
	if origin != "EWR" || temp.Float64 != 41.5 || !observed.Equal(time.Date(2013, 1, 1, 11, 0, 0, 0, time.UTC)) {
		t.Fatalf("the row is %s %v %v", origin, observed, temp)
	}
	check(t, database.QueryRow(read, "JFK").Scan(&origin, &observed, &temp))
	if temp.Valid {
		t.Fatalf("NULL is read as %v", temp)
	}

	result, err := database.Exec(`INSERT INTO weather (origin, observed, temp) VALUES ('LGA', '2013-01-01T10:00:00Z', $1)`, 12.5)
	check(t, err)
	if changed, err := result.RowsAffected(); err != nil || changed != 1 {
		t.Fatalf("an insert changed %d rows: %v", changed, err)
	}
	var count int64
	check(t, database.QueryRow(`SELECT count(*) FROM weather`).Scan(&count))
	if count != 3 {
		t.Fatalf("there are %d rows", count)
	}

	_, err = database.Query(`SELECT * FROM wether`)
	if err == nil || !strings.Contains(err.Error(), "wether") {
		t.Fatalf("an unknown table answered %v", err)
	}
}

func TestDatabaseSQLStandsInThePastByItsNameAlone(t *testing.T) {
	address := serve(t)
	weather(t, connect(t, address))
	past := open(t, address, url.Values{"firn.as_of": {"2013-01-01T10:30:00Z"}})
	var temp float64
	check(t, past.QueryRow(readsEWR).Scan(&temp))
	if temp != 39 {
		t.Fatalf("at 10:30 it was %v", temp)
	}
	if _, err := past.Exec(`INSERT INTO weather VALUES ('EWR', '2013-01-01T09:00:00Z', 1)`); err == nil {
		t.Fatal("the past was written")
	}
}

// The driver cannot bind a time: it is written as text, which the statement makes a moment of.
func TestDatabaseSQLBindsAMomentAsText(t *testing.T) {
	address := serve(t)
	weather(t, connect(t, address))
	database := open(t, address, url.Values{})
	var temp float64
	read := `SELECT temp FROM weather FOR VALID_TIME AS OF CAST(CAST($1 AS VARCHAR) AS TIMESTAMP) WHERE origin = 'EWR'`
	check(t, database.QueryRow(read, "2013-01-01T10:30:00Z").Scan(&temp))
	if temp != 39 {
		t.Fatalf("at 10:30 it was %v", temp)
	}
}

// What the driver has no value for is an error of its own, as the page says.
func TestDatabaseSQLSaysWhatItCannotRead(t *testing.T) {
	database := open(t, serve(t), url.Values{})
	for _, value := range []string{"CAST(7 AS INT UNSIGNED)", "[1, 2]", "{a: 1}"} {
		rows, err := database.Query("SELECT " + value)
		check(t, err)
		if rows.Next() || rows.Err() == nil {
			t.Errorf("%s is read, and the page says that it is not", value)
		}
		check(t, rows.Close())
	}
	_, err := database.Query("SELECT 1 WHERE TIMESTAMP '2013-01-01' = $1", time.Now())
	if err == nil || !strings.Contains(err.Error(), "builder") {
		t.Errorf("the page says that the driver binds no time, and it answers %v", err)
	}
}

func TestDatabaseSQLEndsAQuery(t *testing.T) {
	database := open(t, serve(t), url.Values{})
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if rows, err := database.QueryContext(ctx, long); err == nil {
		// The driver may end such rows without a word: that there are none is what it promises.
		if rows.Next() {
			t.Fatal("a query that was to end answered")
		}
		_ = rows.Close()
	}
	var one int64
	check(t, database.QueryRow(`SELECT 1`).Scan(&one))
}
