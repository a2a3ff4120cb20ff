//! The data that `reels_plan_a` reads: always the same, made by calculation.
//!
//! 1000 users follow 20 of 200 authors each; an author has 20 media; a list of 100 media is popular. One caption in
//! eight is an advertisement. `docs/plan.md` has the keys.

use crate::failure::NodeFailure;
use crate::resp::{Connection, Pipeline, RedisOptions, Reply};

/// Every key begins so.
pub const KEY_PREFIX: &str = "virtmark:reels:";
/// Users are 1 to this.
pub const USERS: u64 = 1000;
const AUTHORS: u64 = 200;
const FOLLOWS: u64 = 20;
const MEDIA_PER_AUTHOR: u64 = 20;
/// Media of authors that nobody follows, so that no media is a candidate twice.
const POPULAR: u64 = 100;
/// Commands that are sent together.
const BATCH: usize = 1000;

const WORDS: [&str; 16] = [
    "morning", "bread", "train", "lasers", "harbour", "guitar", "puppy", "market", "sunrise", "winter",
    "rooftop", "forest", "kitchen", "bicycle", "paper", "workshop",
];

/// How much was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Seeded {
    /// Keys that there are now.
    pub keys: u64,
}

/// Fills a Redis with the data of `reels_plan_a`, in place of what its keys held. Other keys are not touched.
///
/// # Errors
/// When Redis cannot be reached, or refuses.
pub fn seed(redis: &RedisOptions) -> Result<Seeded, NodeFailure> {
    let mut connection = Connection::open(redis)?;
    let mut keys = 0;
    for lists in commands().chunks(BATCH) {
        let mut pipeline = Pipeline::default();
        for command in lists {
            pipeline.push(command.iter().map(String::as_bytes));
            keys += u64::from(command[0] == "DEL");
        }
        for reply in connection.run(&pipeline)? {
            if let Reply::Error(message) = reply {
                return Err(NodeFailure::RedisRefused { address: redis.address.clone(), message });
            }
        }
    }
    Ok(Seeded { keys })
}

/// For each key, one that empties it and one that fills it.
fn commands() -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    let mut write = |command: &str, key: String, values: Vec<String>| {
        let key = format!("{KEY_PREFIX}{key}");
        commands.push(vec!["DEL".into(), key.clone()]);
        commands.push([vec![command.into(), key], values].concat());
    };
    for user in 1..=USERS {
        // Steps of 7 come round to the same author only after all 200.
        let follows = (0..FOLLOWS).map(|step| (1 + (user * 13 + step * 7) % AUTHORS).to_string()).collect();
        write("RPUSH", format!("user:{user}:follows"), follows);
    }
    for author in 1..=AUTHORS {
        let media = (0..MEDIA_PER_AUTHOR).map(|number| (author * 100 + number).to_string()).collect();
        write("RPUSH", format!("author:{author}:media"), media);
    }
    let popular = || (0..POPULAR).map(|number| (AUTHORS + 1) * 100 + number);
    write("RPUSH", "popular".into(), popular().map(|media| media.to_string()).collect());
    let of_author = |author: u64| (0..MEDIA_PER_AUTHOR).map(move |number| author * 100 + number);
    for media in (1..=AUTHORS).flat_map(of_author).chain(popular()) {
        let [first, second, likes, age] = [1, 2, 3, 4].map(|salt| mix(media * 8 + salt));
        let tail = if mix(media).is_multiple_of(8) { " #ad" } else { "" };
        let caption = format!("{} {}{tail}", WORDS[(first % 16) as usize], WORDS[(second % 16) as usize]);
        let fields = [
            ("caption", caption),
            ("likes", (likes % 10_000).to_string()),
            ("age_hours", (age % 168).to_string()),
        ];
        let values = fields.into_iter().flat_map(|(field, value)| [field.to_owned(), value]).collect();
        write("HSET", format!("media:{media}"), values);
    }
    commands
}

/// The output function of SplitMix64 (Steele, Lea and Flood 2014).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
