//! `firn demo`: the story of FirnDB, told with New York flights of 2013 and a server of its own.
//!
//! Everything goes through the door that users have: the Rust client and Arrow Flight. The server is a child process,
//! so that it can be killed without warning. The data is in the binary. It is not a benchmark, though every figure
//! that it prints was measured while it ran.

mod child;
mod data;
mod load;
mod reads;
mod result;
mod teller;

use std::path::{Path, PathBuf};

use firn_client::Client;

use child::Child;
use load::Loaded;
use reads::{Joined, Reads};
pub use result::Result;
use teller::{Teller, count, percent, seconds};

/// What the command line may say.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The data directory, which is kept; without one a temporary directory is used.
    pub data: Option<PathBuf>,
    /// Keeps the temporary directory.
    pub keep: bool,
}

/// Tells the story and cleans up, also when it is interrupted.
pub async fn run(options: Options) -> Result<()> {
    let teller = Teller::new();
    let place = Place::new(&options)?;
    let told = tokio::select! {
        told = tell(&teller, &place) => told,
        _ = tokio::signal::ctrl_c() => Err("interrupted".to_owned()),
    };
    let kept = place.kept();
    if told.is_ok() {
        teller.next(kept.as_deref());
    }
    told
}

/// Where the data and the server's log go.
struct Place {
    scratch: Option<tempfile::TempDir>,
    data: PathBuf,
    log: PathBuf,
}

impl Place {
    fn new(options: &Options) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("firn-demo-").tempdir();
        let scratch = scratch.map_err(|error| format!("could not make a temporary directory: {error}"))?;
        let log = scratch.path().join("server.log");
        if let Some(data) = &options.data {
            let occupied = std::fs::read_dir(data).is_ok_and(|mut entries| entries.next().is_some());
            if occupied {
                let data = data.display();
                return Err(format!("{data} is not empty; the demo loads its data into a new directory"));
            }
            return Ok(Self { scratch: Some(scratch), data: data.clone(), log });
        }
        let data = scratch.path().join("data");
        match options.keep {
            false => Ok(Self { scratch: Some(scratch), data, log }),
            true => {
                let _ = scratch.keep();
                Ok(Self { scratch: None, data, log })
            }
        }
    }

    /// The data directory, if it outlives the demo.
    fn kept(self) -> Option<PathBuf> {
        let temporary = self.scratch.as_ref().is_some_and(|scratch| self.data.starts_with(scratch.path()));
        (!temporary).then_some(self.data)
    }
}

async fn tell(teller: &Teller, place: &Place) -> Result<()> {
    teller.title("FirnDB: New York flights of 2013, in one store for training and serving");
    let (mut server, _) = Child::start(&place.data, &place.log).await?;
    let client = server.client().await?;
    teller.line("server", &format!("process {} at {}, data in {}", server.process(), server.url(), show(&place.data)));
    let loaded = load::load(&client).await?;
    tell_loaded(teller, &loaded);

    let reads = Reads::new(&client);
    teller.line("now", &reads.latest().await?.to_string());
    teller.line("1 July", &format!("{}   (the same question, asked as of then)", reads.on_the_first_of_july().await?));

    let spine = data::spine()?;
    let leaky = reads.join(&spine, false).await?;
    tell_join(teller, "training", "as of three hours before each departure", &leaky);
    let strict = reads.join(&spine, true).await?;
    tell_join(teller, "strict", "and only what was known by then", &strict);
    let leaked = reads::differing_winners(&leaky, &strict)?;
    let share = percent(leaked, strict.rows);
    let what = "training rows had seen a delay before that plane had landed";
    teller.line("the leak", &format!("{} {what}: {share}", teller.strong(&count(leaked))));

    let position = reads::short(&strict.digest);
    server.kill().await?;
    let (server, opened) = Child::start(&place.data, &place.log).await?;
    teller.line(
        "kill -9",
        &format!("killed the server; process {} reopened the data in {}", server.process(), seconds(opened)),
    );
    tell_again(teller, &server.client().await?, &spine, &[leaky, strict], &position).await?;
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

/// Asks both joins again, of the server that came back, at the positions that the first answers named.
async fn tell_again(
    teller: &Teller,
    client: &Client,
    spine: &[arrow_array::RecordBatch],
    before: &[Joined; 2],
    digest: &str,
) -> Result<()> {
    let reads = Reads::new(client);
    for joined in before {
        let again = reads.join_again(spine, joined).await?;
        if again.digest != joined.digest {
            return Err("the answers after the crash differ from those before it; please report this".to_owned());
        }
    }
    teller.line("the same", &format!("both training sets again, bit for bit (digest {digest}…)"));
    Ok(())
}

fn show(path: &Path) -> String {
    path.display().to_string()
}
