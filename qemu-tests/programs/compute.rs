//! Sorts, hashes and formats with the standard library, which allocates and frees all the time. Paced.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};

fn main() {
    let mut seed = 1u64;
    let mut kept: BTreeMap<u64, String> = BTreeMap::new();
    for leg in 0.. {
        println!("leg {leg}");
        for round in 0..200 {
            let mut numbers: Vec<u64> = (0..40_000)
                .map(|_| {
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    seed
                })
                .collect();
            numbers.sort_unstable();
            let mut counts: HashMap<u64, u32> = HashMap::new();
            numbers.iter().for_each(|number| *counts.entry(number % 997).or_default() += 1);
            let most = counts.iter().map(|(value, count)| (*count, *value)).max().unwrap();
            kept.insert(numbers[17], format!("{:x}", numbers[numbers.len() / 2]));
            if round % 25 == 0 {
                println!("round {round} most {most:?} kept {} {:?}", kept.len(), kept.iter().next());
            }
        }
        std::io::stdout().flush().unwrap();
        if std::io::stdin().read(&mut [0]).unwrap() == 0 {
            break;
        }
    }
    println!("end");
}
