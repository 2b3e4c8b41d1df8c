//! Every command survives a round trip, and every error says the place and the mend.

use serde_json::json;

use super::*;

fn decode(value: &Value) -> Result<Command> {
    Command::decode(value.to_string().as_bytes())
}

fn message(value: &Value) -> String {
    decode(value).expect_err("the command is wrong").message
}

#[test]
fn commands_survive_a_round_trip() {
    let commands = [
        json!({"lookup":{"features":["weather.temp"]}}),
        json!({"lookup":{"features":["weather.*",
            {"feature":"weather.temp","as":"dest_temp","entity":{"origin":{"column":"dest"}}},
            {"feature":"weather.*","prefix":"dest_","entity":{"origin":"dest"}}],
            "as_of":{"time":"2024-05-01T00:00:00Z","exclusive":true},"known_at":{"us":7},
            "status":true,"event_times":true,"position":"p","durable":true,"schema_version":7,"clock":-5,"at_least":"q",
            "wait":"100ms","digest":true,"max_message_bytes":1024,"errors":"in_band",
            "entities":{"origin":["EWR","JFK"],"n":[1, 2]}}}),
        json!({"join":{"features":["weather.temp"],"as_of":{"column":"decided_at","exclusive":true},
            "known_at":{"column":"decided_at"}}}),
        json!({"join":{"features":["weather.temp"],"as_of":"latest","max_message_bytes":"max"}}),
        json!({"write":{"table":"weather","nulls":"absent","producer":"p1","ingest_time":"landed","bad_rows":"report",
            "acknowledge":"local"}}),
        json!({"delete":{"table":"weather","acknowledge":"object"}}),
        json!({"retract":{"table":"weather","features":["temp"]}}),
        json!({"scan":{"table":"weather","columns":["temp"],"as_of":"2024-05-01T00:00:00Z","known_at":{"us":9},
            "history":true,"from":{"us":1},"to":"2024-05-01T00:00:00Z","position":"p","durable":true,"schema_version":1,"clock":3,
            "max_message_bytes":9,"part":{"part":1,"parts":4}}}),
    ];
    for command in commands {
        let decoded = decode(&command).unwrap();
        assert_eq!(Command::decode(&decoded.encode()).unwrap(), decoded, "{command}");
    }
}

#[test]
fn an_unknown_field_is_named_with_its_place_and_the_accepted_ones() {
    let found = message(&json!({"lookup":{"features":["weather.temp"],"stauts":true}}));
    assert!(found.starts_with("lookup: unknown field `stauts`; the fields are `features`, `as_of`"), "{found}");
    let found = message(&json!({"lookup":{"features":["a.b",{"feature":"a.b","alias":"c"}]}}));
    assert!(found.starts_with("lookup.features[1]: unknown field `alias`"), "{found}");
    let found = message(&json!({"join":{"features":["a.b"],"as_of":{"colum":"t"}}}));
    assert!(found.starts_with("join.as_of: unknown field `colum`"), "{found}");
    let found = message(&json!({"write":{"table":"a","features":["x"]}}));
    assert!(found.starts_with("write: unknown field `features`"), "{found}");
}

#[test]
fn a_wrong_value_is_named_with_its_place() {
    for (command, start) in [
        (json!({"lookup":{}}), "lookup: the field `features` is missing"),
        (json!({"lookup":{"features":[]}}), "lookup: `features` is empty"),
        (json!({"lookup":{"features":["temp"]}}), "lookup.features[0]: expected \"table.feature\""),
        (json!({"lookup":{"features":[7]}}), "lookup.features[0]: expected \"table.feature\", \"table.*\" or"),
        (json!({"lookup":{"features":["a.b"],"status":1}}), "lookup.status: expected true or false, found 1"),
        (json!({"lookup":{"features":["a.b"],"errors":"band"}}), "lookup.errors: expected \"status\" or \"in_band\""),
        (json!({"lookup":{"features":["a.b"],"wait":"1s"}}), "lookup: `wait` needs `at_least`"),
        (json!({"lookup":{"features":["a.b"],"known_at":{"us":1,"exclusive":true}}}), "lookup.known_at: `exclusive`"),
        (json!({"lookup":{"features":["a.b"],"as_of":{"us":1,"column":"c"}}}), "lookup.as_of: give exactly one"),
        (json!({"lookup":{"features":["a.b"],"as_of":{}}}), "lookup.as_of: give exactly one"),
        (json!({"lookup":{"features":["a.b"],"as_of":5}}), "lookup.as_of: expected \"latest\""),
        (json!({"lookup":{"features":["a.b"],"entities":{"k":[1],"l":[]}}}), "lookup.entities: `k` has 1 values"),
        (
            json!({"write":{"table":"a","acknowledge":"disk"}}),
            "write.acknowledge: expected \"local\" or \"object\", found \"disk\"",
        ),
        (json!({"retract":{"table":"a","acknowledge":true}}), "retract.acknowledge: expected a string, found true"),
        (json!({"scan":{"table":"a","durable":"yes"}}), "scan.durable: expected true or false"),
        (json!({"join":{"features":["a.b"]}}), "join: a join must say its `as_of`"),
        (json!({"scan":{"table":"a","as_of":{"column":"c"}}}), "scan.as_of: a scan has no rows"),
        (json!({"scan":{"table":"a","part":{"part":4,"parts":4}}}), "scan.part: expected"),
        (json!({"drop":{}}), "command: unknown verb `drop`"),
        (json!({}), "command: it is empty"),
        (json!({"lookup":{},"join":{}}), "command: has the keys `lookup` and `join`"),
    ] {
        let found = message(&command);
        assert!(found.starts_with(start), "{command}: {found}");
    }
}

#[test]
fn reserved_forms_say_that_they_are_not_served_yet() {
    let through_feature =
        json!({"lookup":{"features":[{"feature":"a.b","entity":{"user":{"feature":"device_owner.user"}}}]}});
    let stored_spine = json!({"join":{"features":["a.b"],"spine":{"table":"labels"}}});
    for command in [through_feature, stored_spine] {
        assert!(decode(&command).unwrap_err().reserved, "{command}");
    }
}

#[test]
fn what_is_not_json_says_that_flight_sql_is_not_served() {
    for bytes in [&b"\x0a\x40type.googleapis.com"[..], b"", b"[]"] {
        assert!(Command::decode(bytes).unwrap_err().message.contains("Flight SQL"));
    }
}

#[test]
fn producer_steps_acknowledgements_and_answers_survive_a_round_trip() {
    for step in [ProducerStep { producer_seq: 7, previous: Some(6) }, ProducerStep { producer_seq: 1, previous: None }]
    {
        assert_eq!(ProducerStep::decode(&step.encode()).unwrap(), step);
    }
    assert!(ProducerStep::decode(br#"{"producer_seq":6,"previous":6}"#).is_err());
    assert!(ProducerStep::decode(br#"{"previous":6}"#).is_err());
    let bad = BadRow { batch: 1, row: 2, column: "temp".into(), reason: "null".into() };
    let acknowledged = Some(Level::Object);
    let acknowledgement =
        Acknowledgement { batches: 3, rows: 9, acknowledged, bad_rows: vec![bad], ..Acknowledgement::default() };
    assert_eq!(Acknowledgement::decode(&acknowledgement.encode()).unwrap(), acknowledgement);
    let error = AnswerError { code: "NOT_FOUND".into(), message: "no such table".into(), column: None, row: None };
    let answer = Answer { request: 4, last: true, error: Some(error), ..Answer::default() };
    assert_eq!(Answer::decode(&answer.encode()).unwrap(), answer);
    let erase = Erase { entity: "user".into(), entities: vec![("user".into(), vec![json!(1)])], block: true };
    assert_eq!(Erase::decode(erase.encode()).unwrap(), erase);
}
