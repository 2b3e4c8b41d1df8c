//! `firn demo`: the story of FirnDB, told with New York flights of 2013 and a server of its own.
//!
//! Everything goes through the door that users have: the Rust client and Arrow Flight. The server is a child process,
//! so that it can be killed without warning, and with a bucket its disk too. The data is in the binary. It is not a
//! benchmark, though every figure that it prints was measured while it ran.

mod child;
mod data;
mod load;
mod loss;
mod place;
mod reads;
mod result;
mod teller;

use child::Child;
use load::Loaded;
use place::Place;
pub use place::{Home, Options};
use reads::{Joined, Reads, Told};
pub use result::Result;
use teller::{Teller, count, percent, seconds};

/// Tells the story and cleans up, also when it is interrupted.
pub async fn run(options: Options) -> Result<()> {
    let teller = Teller::new();
    let place = tokio::task::block_in_place(|| Place::new(options))?;
    let told = tokio::select! {
        told = tell(&teller, &place) => told,
        _ = tokio::signal::ctrl_c() => Err("interrupted".to_owned()),
    };
    let (kept, home) = place.end();
    if told.is_ok() {
        teller.next(kept.as_deref(), home.as_ref());
    }
    told
}

async fn tell(teller: &Teller, place: &Place) -> Result<()> {
    teller.title("FirnDB: New York flights of 2013, in one store for training and serving");
    let (mut server, _) = Child::start(place).await?;
    let client = server.client().await?;
    teller.line("server", &format!("process {} at {}, {}", server.process(), server.url(), place.shown()));
    let loaded = load::load(&client).await?;
    tell_loaded(teller, &loaded);

    let reads = Reads::new(&client);
    let now = reads.latest().await?;
    teller.line("now", &now);
    let then = reads.on_the_first_of_july().await?;
    teller.line("1 July", &format!("{then}   (the same question, asked as of then)"));

    let spine = data::spine()?;
    let leaky = reads.join(&spine, false).await?;
    tell_join(teller, "training", "as of three hours before each departure", &leaky);
    let strict = reads.join(&spine, true).await?;
    tell_join(teller, "strict", "and only what was known by then", &strict);
    let leaked = reads::differing_winners(&leaky, &strict)?;
    let share = percent(leaked, strict.rows);
    let what = "training rows had seen a delay before that plane had landed";
    teller.line("the leak", &format!("{} {what}: {share}", teller.strong(&count(leaked))));

    let told = Told { now, then, joins: [leaky, strict] };
    if place.home().is_some() {
        loss::freeze(teller, &client, &loaded.flights).await?;
        server = loss::lose(teller, place, server, &spine, &told).await?;
    }
    server.kill().await?;
    let (server, opened) = Child::start(place).await?;
    teller.line(
        "kill -9",
        &format!("killed the server; process {} reopened the data in {}", server.process(), seconds(opened)),
    );
    Reads::new(&server.client().await?).joins_are_the_same(&spine, &told, "the crash").await?;
    teller.line("the same", &format!("both training sets again, bit for bit (digest {}…)", told.digest()));
    drop(server);
    Ok(())
}

fn tell_loaded(teller: &Teller, loaded: &Loaded) {
    for table in [&loaded.weather, &loaded.planes, &loaded.flights] {
        let rate = format!("{} rows in {}, sealed", count(table.rows), seconds(table.seconds));
        let refused = table.sent - table.rows;
        let report = match refused {
            0 => String::new(),
            refused => format!(
                "; {} of {} refused: they never landed, and {} of them name no plane either",
                count(refused),
                count(table.sent),
                count(table.bad_row_count - refused)
            ),
        };
        teller.line(table.name, &format!("{rate}{report}"));
    }
}

fn tell_join(teller: &Teller, name: &str, how: &str, joined: &Joined) {
    let rows = teller.strong(&format!("{} rows x {} features", count(joined.rows), joined.features));
    teller.line(name, &format!("{rows} {how}, in {}", seconds(joined.seconds)));
}
