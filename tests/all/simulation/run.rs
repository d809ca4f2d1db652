//! One world from its seed to its end, with its faults.

use std::{fmt, path::Path, rc::Rc, time::Duration};

use fastrand::Rng;
use tempfile::TempDir;
use tokio::{
    runtime,
    task::{JoinSet, LocalSet},
    time::{sleep, timeout},
};

use super::{
    diary,
    network::pick,
    program::Program,
    speaker::{Life, Speaker},
    world::{ROOMS, World, word},
};

/// How long, by its own clock, a world may run before it counts as stuck.
const SIMULATED_LIMIT: Duration = Duration::from_secs(3600);

/// A world in which a check failed.
pub(super) struct Broken {
    pub(super) why: String,
    pub(super) story: Vec<String>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.story.join("\n"), self.why)
    }
}

/// Runs one world to its end, and returns its story.
pub(super) fn run(seed: u64) -> Result<Vec<String>, Broken> {
    // The client draws its WebSocket key and masks from this generator, the
    // server its reconnect delays.
    fastrand::seed(seed);
    let folder = folder();
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let world = World::new(seed, folder.path());
        let lived = timeout(SIMULATED_LIMIT, live(&world)).await;
        let why = lived.unwrap_or_else(|_| Err("a task waits for ever".to_owned()));
        let story = world.story.take();
        match why {
            Ok(()) => Ok(story),
            Err(why) => Err(Broken { why, story }),
        }
    })
}

/// Creates a folder, in memory if possible: a sync takes no longer than a write
/// there.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    made.expect("a folder")
}

async fn live(world: &Rc<World>) -> Result<(), String> {
    let mut rng = world.fork();
    world.host.start();
    let mut people = JoinSet::new();
    for (n, life) in [Life::Long, Life::KeepsOutbox, Life::Resends, Life::Short]
        .into_iter()
        .enumerate()
    {
        let unsaid = rng.usize(1..20);
        people.spawn_local(Speaker::new(world, format!("s{n}"), life, unsaid).live());
    }
    people.spawn_local(Speaker::new(world, "quiet".to_owned(), Life::Long, 0).live());
    people.spawn_local(Program::new(world, "json").read(true));
    people.spawn_local(Program::new(world, "plain").read(false));
    world.add_speaker("parrot");
    people.spawn_local(Program::new(world, "parrot").repeat(rng.usize(1..10)));
    let all = async {
        while let Some(ended) = people.join_next().await {
            ended.expect("no panic")?;
        }
        Ok::<_, String>(())
    };
    let course = async {
        for _ in 0..rng.usize(2..9) {
            sleep(Duration::from_millis(rng.u64(..5000))).await;
            inject_fault(world, &mut rng).await;
            if world.has_erasures {
                erase_some(world, &mut rng).await;
            }
        }
        world.note("world", "is calm");
        world.calm.set(true);
        world.host.network.calm();
        world.all_finished.cancelled().await;
        // Until then an erasure may be on its way.
        sleep(Duration::from_secs(10)).await;
        let ends = diary::ends(&diary::log(&world.host.folder));
        world.ends.set(ends).expect("known once");
        world.ended.cancel();
        Ok(())
    };
    tokio::try_join!(biased; all, course)?;
    let erased = world.erased();
    if world.has_erasures {
        world.host.check_erased(&ROOMS, &erased).await?;
        check_searches(world).await?;
    }
    world.host.stop().await;
    diary::check_files(&world.host.folder, &erased)?;
    let read = diary::check_counts(&world.host.folder)?;
    world.note("log", &format!("{read} read positions"));
    let log = diary::log(&world.host.folder);
    diary::check(&log, &world.speakers.borrow(), &world.views.borrow())
}

/// Has an operator erase one message, if there is one.
async fn erase_some(world: &World, rng: &mut Rng) {
    let mut log = diary::log(&world.host.folder);
    log.retain(|m| ROOMS.contains(&&*m.room) && m.is_shown());
    if log.is_empty() {
        return;
    }
    let message = &log[rng.usize(..log.len())];
    if let Some(word) = word(&message.text) {
        // It has all messages indexed.
        world.host.find(&message.room, word).await;
    }
    world.note_erasing(message.seq, &message.text);
    if world.host.erase(&message.room, message.seq).await {
        world.note("an operator", &format!("erased {}", message.seq));
        world.note_erased(message.seq);
    }
}

/// Checks that a search finds each message by its own word.
///
/// # Errors
/// Fails if a search does not.
async fn check_searches(world: &World) -> Result<(), String> {
    for message in diary::log(&world.host.folder) {
        let its_word = word(&message.text).filter(|_| ROOMS.contains(&&*message.room));
        let Some(wanted) = its_word else {
            continue;
        };
        let found = world.host.find(&message.room, wanted).await;
        if found != [message.seq] {
            return Err(format!(
                "a search for {wanted} of {} finds {found:?}",
                message.seq
            ));
        }
    }
    Ok(())
}

/// Makes one random fault happen.
async fn inject_fault(world: &World, rng: &mut Rng) {
    let host = &world.host;
    let long = Duration::from_millis(pick(rng, &[0, 1000, 10_000]));
    match rng.u8(..6) {
        0 | 1 => {
            world.note("server", "is killed");
            host.kill().await;
            sleep(long).await;
            host.start();
        }
        2 => {
            world.note("server", "stops");
            host.stop().await;
            sleep(long).await;
            host.start();
        }
        3 => {
            world.note("network", "is cut");
            host.network.cut();
        }
        4 => {
            world.note("disk", "is full");
            host.fill_disk(rng.bool());
            sleep(long).await;
            if rng.bool() {
                world.note("server", "is killed");
                host.kill().await;
                host.start();
                sleep(long).await;
            }
            world.note("disk", "has room");
            host.free_disk();
        }
        _ => {
            world.note("network", "is parted");
            host.network.hold();
            // The longer time is enough for either side to give up the
            // connection.
            sleep(pick(rng, &[long, Duration::from_secs(80)])).await;
            host.network.release();
        }
    }
}
