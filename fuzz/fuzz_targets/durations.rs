#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use serin_fuzz::{durations, mutation::mutate_in_place};

fuzz_target!(|bytes: &[u8]| durations::run(bytes));

fuzz_mutator!(|bytes: &mut [u8], size: usize, limit: usize, seed: u32| {
    mutate_in_place(bytes, size, limit, seed).unwrap_or_else(|| fuzzer_mutate(bytes, size, limit))
});
