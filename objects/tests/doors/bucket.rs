//! What a bucket in a cloud does when its store misbehaves: repeats, looks, tells absence from failure, gives up.

use std::time::Duration;

use firn_objects::bucket::Bucket;
use firn_objects::options::Options;
use firn_storage::error::{Error, Kind};
use firn_storage::objects::{Creation, Objects};

use crate::server::{Reaction, Server};
use crate::{bucket, impatient, name, options};

const SLOW_DOWN: Reaction = Reaction::Status(503, "<Code>SlowDown</Code>");

/// Asserts that `error` is of `kind`, names the object and the bucket, and says `words`.
fn says(error: &Error, kind: Kind, words: &str) {
    assert_eq!(error.kind(), kind, "{error}");
    for part in ["object a/b of s3://tests/prod", words] {
        assert!(error.message().contains(part), "{part:?} is missing: {error}");
    }
}

#[test]
fn storms_are_waited_out() {
    let server = Server::start();
    let objects = bucket(&server);
    let object = name("a/b");
    let storm = || [SLOW_DOWN, Reaction::Status(429, ""), Reaction::Close, Reaction::Status(500, "InternalError")];
    for method in ["PUT", "GET", "POST"] {
        server.plan(method, storm());
    }
    assert_eq!(objects.put_new(&object, "x".into()).unwrap(), Creation::Created);
    assert_eq!(objects.get(&object).unwrap(), Some("x".into()));
    objects.delete(&object).unwrap();
    server.plan("PUT", storm());
    objects.put(&object, "y".into()).unwrap();
    server.plan("GET", storm());
    assert_eq!(objects.list("a").unwrap().len(), 1);
    server.plan("GET", storm());
    assert_eq!(objects.get_range(&object, 0..1).unwrap(), Some("y".into()));
    server.plan("HEAD", [SLOW_DOWN]);
    assert_eq!(objects.length(&object).unwrap(), Some(1));
    assert!(server.is_done());
}

#[test]
fn a_storm_that_does_not_end_is_an_error_in_time() {
    let server = Server::start();
    let objects = impatient(&server);
    let object = name("a/b");
    for method in ["PUT", "GET", "HEAD", "POST"] {
        server.plan(method, vec![SLOW_DOWN; 200]);
    }
    let errors = [
        objects.put_new(&object, "x".into()).unwrap_err(),
        objects.put(&object, "x".into()).unwrap_err(),
        objects.get(&object).unwrap_err(),
        objects.get_range(&object, 0..1).unwrap_err(),
        objects.length(&object).unwrap_err(),
        objects.delete(&object).unwrap_err(),
    ];
    errors.iter().for_each(|error| says(error, Kind::Unavailable, "SlowDown"));
    let error = objects.list("").unwrap_err();
    assert!(error.message().contains("could not list all objects of s3://tests/prod"), "{error}");
    assert_eq!(error.kind(), Kind::Unavailable);
}

#[test]
fn a_create_whose_reply_was_lost_is_ours() {
    for lost in [Reaction::Land, Reaction::LandAndSay(500, "InternalError"), Reaction::LandAndSay(503, "SlowDown")] {
        let server = Server::start();
        let objects = bucket(&server);
        server.plan("PUT", [lost]);
        assert_eq!(objects.put_new(&name("a/b"), "nonce 1".into()).unwrap(), Creation::Created);
        assert_eq!(server.requests(), ["PUT", "PUT", "GET"], "it is sent again, found, and looked at");
        assert_eq!(objects.put_new(&name("a/b"), "nonce 2".into()).unwrap(), Creation::Found);
        assert_eq!(server.content("prod/a/b").unwrap(), b"nonce 1");
    }
}

#[test]
fn a_create_that_times_out_and_lands_later_is_ours() {
    let server = Server::start();
    let options = Options { attempt_max: Duration::from_millis(300), ..options(server.endpoint()) };
    let objects = Bucket::open("s3://tests/prod", &options).unwrap();
    server.plan("PUT", [Reaction::LandLater(Duration::from_millis(600))]);
    assert_eq!(objects.put_new(&name("a/b"), "nonce 1".into()).unwrap(), Creation::Created);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(server.content("prod/a/b").unwrap(), b"nonce 1");
}

#[test]
fn a_create_that_another_won_meanwhile_is_found() {
    let server = Server::start();
    let objects = bucket(&server);
    server.plan("PUT", [Reaction::Close]);
    server.plant("prod/a/b", b"another's");
    assert_eq!(objects.put_new(&name("a/b"), "nonce 1".into()).unwrap(), Creation::Found);
    assert_eq!(server.content("prod/a/b").unwrap(), b"another's");
}

#[test]
fn a_conflict_without_a_cause_means_look_again() {
    for status in [409, 412] {
        let server = Server::start();
        let objects = bucket(&server);
        server.plan("PUT", vec![Reaction::Status(status, "<Code>ConditionalRequestConflict</Code>"); 2]);
        assert_eq!(objects.put_new(&name("a/b"), "nonce 1".into()).unwrap(), Creation::Created);
        assert_eq!(server.requests(), ["PUT", "GET", "PUT", "GET", "PUT"], "nothing was there, so it is sent again");
        server.plan("PUT", [Reaction::Status(status, "")]);
        objects.put(&name("a/b"), "y".into()).unwrap();
        assert_eq!(server.content("prod/a/b").unwrap(), b"y");
    }
}

#[test]
fn only_the_store_can_say_that_nothing_is_there() {
    let server = Server::start();
    let (objects, object) = (bucket(&server), name("a/b"));
    assert_eq!(objects.get(&object).unwrap(), None);
    assert_eq!(objects.length(&object).unwrap(), None);
    assert_eq!(objects.get_range(&object, 0..1).unwrap(), None);
    let objects = impatient(&server);
    for body in ["<html>404 not found</html>", ""] {
        server.plan("GET", vec![Reaction::Status(404, body); 50]);
        says(&objects.get(&object).unwrap_err(), Kind::Unavailable, "but not that there is no such object");
        says(&objects.length(&object).unwrap_err(), Kind::Unavailable, "but not that there is no such object");
        server.plan("GET", vec![Reaction::Status(404, body); 50]);
        says(&objects.get_range(&object, 0..1).unwrap_err(), Kind::Unavailable, "404");
    }
    let server = Server::start();
    let objects = bucket(&server);
    let gone = || Reaction::Status(404, "<Code>NoSuchBucket</Code>");
    ["PUT", "GET", "POST"].into_iter().for_each(|method| server.plan(method, [gone()]));
    says(&objects.get(&object).unwrap_err(), Kind::Precondition, "the bucket does not exist");
    says(&objects.put_new(&object, "x".into()).unwrap_err(), Kind::Precondition, "the bucket does not exist");
    says(&objects.delete(&object).unwrap_err(), Kind::Precondition, "the bucket does not exist");
    server.plan("GET", [gone()]);
    let error = objects.list("").unwrap_err();
    assert_eq!(error.kind(), Kind::Precondition, "a list of a bucket that is gone is not empty: {error}");
}

#[test]
fn the_length_is_known_although_an_answer_without_words_said_404() {
    let server = Server::start();
    let objects = bucket(&server);
    objects.put(&name("a/b"), "xyz".into()).unwrap();
    objects.put(&name("a/empty"), "".into()).unwrap();
    server.plan("HEAD", [Reaction::Status(404, ""), Reaction::Status(404, "")]);
    assert_eq!(objects.length(&name("a/b")).unwrap(), Some(3));
    server.plan("HEAD", [Reaction::Status(404, "")]);
    assert_eq!(objects.length(&name("a/empty")).unwrap(), Some(0));
}

#[test]
fn wrong_bodies_are_asked_for_again() {
    let server = Server::start();
    let objects = bucket(&server);
    let object = name("a/b");
    objects.put(&object, "0123456789".into()).unwrap();
    for wrong in [Reaction::Cut, Reaction::WrongRange, Reaction::Whole] {
        server.plan("GET", [wrong.clone(), wrong.clone()]);
        assert_eq!(objects.get_range(&object, 2..6).unwrap(), Some("2345".into()), "{wrong:?}");
        assert!(server.is_done());
    }
    server.plan("GET", [Reaction::Cut, Reaction::Cut]);
    assert_eq!(objects.get(&object).unwrap(), Some("0123456789".into()));
}

#[test]
fn bodies_that_stay_wrong_are_damage() {
    let server = Server::start();
    let objects = bucket(&server);
    let object = name("a/b");
    objects.put(&object, "0123456789".into()).unwrap();
    for wrong in [Reaction::Longer, Reaction::WrongRange, Reaction::Whole] {
        server.plan("GET", vec![wrong.clone(); 3]);
        says(&objects.get_range(&object, 2..6).unwrap_err(), Kind::Corrupt, "");
        assert!(server.is_done(), "{wrong:?} is asked for three times");
    }
    server.requests();
    let error = objects.get_range(&object, 8..12).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.message().contains("a/b") && error.message().contains("it has 10"), "{error}");
    says(&objects.get_range(&object, 10..12).unwrap_err(), Kind::Corrupt, "416");
    assert_eq!(server.requests(), ["GET", "GET"], "an object that ends early is not asked for again");
}

#[test]
fn what_no_repeating_mends_is_said_at_once() {
    let server = Server::start();
    let objects = bucket(&server);
    let refused = |status, code, kind, words: &str| {
        server.requests();
        server.plan("PUT", [Reaction::Status(status, code)]);
        says(&objects.put_new(&name("a/b"), "x".into()).unwrap_err(), kind, words);
        assert_eq!(server.requests(), ["PUT"]);
    };
    refused(403, "<Code>RequestTimeTooSkewed</Code>", Kind::Denied, "the clock of this machine");
    refused(401, "", Kind::Denied, "check the credentials");
    refused(501, "<Code>NotImplemented</Code>", Kind::Unsupported, "NotImplemented");
    refused(400, "<Code>InvalidBucketName</Code>", Kind::Precondition, "InvalidBucketName");
    refused(301, "", Kind::Precondition, "region");
}

#[test]
fn nobody_listening_is_an_error_in_time() {
    let options = Options {
        deadline_max: Duration::from_millis(500),
        attempt_max: Duration::from_millis(200),
        ..options("http://127.0.0.1:9".to_owned())
    };
    let objects = Bucket::open("s3://tests/prod", &options).unwrap();
    says(&objects.get(&name("a/b")).unwrap_err(), Kind::Unavailable, "");
}

#[test]
fn calls_may_come_from_threads_of_another_runtime() {
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let objects = bucket(&server);
        objects.put(&name("a/b"), "x".into()).unwrap();
        assert_eq!(objects.get(&name("a/b")).unwrap(), Some("x".into()));
        drop(objects);
    });
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let open = |address: &str, change: fn(&mut Options)| {
        let mut options = options("http://127.0.0.1:9".to_owned());
        change(&mut options);
        let error = Bucket::open(address, &options).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
        assert!(!error.message().contains("sesame"), "{error}");
        error.message().to_owned()
    };
    let wrong_endpoint = |options: &mut Options| options.endpoint = Some("127.0.0.1:9".to_owned());
    assert!(open("s3://tests", wrong_endpoint).contains("http://HOST:PORT"));
    let secret = |options: &mut Options| options.endpoint = Some("http://open:sesame@host".to_owned());
    assert!(open("s3://tests", secret).contains("without credentials"));
    assert!(open("file:///tmp/bucket", |_| {}).contains("has no endpoint"));
    let setting = |options: &mut Options| options.settings.push(("AWS_REGOIN".to_owned(), "sesame".to_owned()));
    assert!(open("s3://tests", setting).contains("\"AWS_REGOIN\" is no setting of S3"));
    assert!(open("az://container", |options| options.settings.clear()).contains("AZURE_STORAGE_ACCOUNT_NAME"));
    assert!(
        !format!("{:?}", Options { settings: vec![("A".into(), "sesame".into())], ..Options::default() })
            .contains("sesame")
    );
}

#[test]
fn an_error_says_what_was_last_heard() {
    let server = Server::start();
    let objects = impatient(&server);
    server.plan("GET", [SLOW_DOWN, Reaction::LandLater(Duration::from_secs(2))]);
    let error = objects.get(&name("a/b")).unwrap_err();
    says(&error, Kind::Unavailable, "there was no answer within");
    says(&error, Kind::Unavailable, "; before that: ");
    says(&error, Kind::Unavailable, "SlowDown");
}

#[test]
fn a_range_whose_answer_is_late_is_asked_for_again() {
    let server = Server::start();
    server.plant("prod/a/b", b"0123456789");
    let read = |objects: &dyn Objects| objects.get_range(&name("a/b"), 2..5).unwrap().unwrap();
    let late = || [Reaction::Late(Duration::from_secs(3))];
    for (percent, asked) in [(5, 2), (0, 1)] {
        let options = Options { hedge_percent: percent, ..options(server.endpoint()) };
        let objects = Bucket::open("s3://tests/prod", &options).unwrap();
        for _ in 0..60 {
            assert_eq!(read(objects.as_ref()), "234");
        }
        server.requests();
        server.plan("GET", late());
        assert_eq!(read(objects.as_ref()), "234");
        assert_eq!(server.requests(), vec!["GET"; asked], "{percent} of a hundred are asked again");
    }
}
