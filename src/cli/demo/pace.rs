//! How fast the demo's time goes. Everything in it lives on tokio's paused clock, which goes on only when it is told to.

use std::io;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::advance;

use crate::clock::Stopwatch;

/// How often the clock is told to go on.
const TICK: Duration = Duration::from_millis(20);
/// The most that it goes on at once, so that what was to happen in between happens in its order.
const STRIDE: Duration = Duration::from_millis(50);

/// How fast time goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many times as fast as outside.
    Real(f64),
    /// From one thing that happens to the next, without waiting.
    #[cfg(test)]
    Leaping,
}

/// Runs a future on a thread and a clock of its own.
///
/// # Errors
/// The system gives no threads or no sockets.
pub fn run<T>(pace: Pace, future: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
    Ok(runtime.block_on(async {
        match pace {
            #[cfg(test)]
            Pace::Leaping => future.await,
            Pace::Real(speed) => tokio::select! {
                output = future => output,
                never = drive(speed) => match never {},
            },
        }
    }))
}

/// Lets time go. While the blocking task lives, the clock does not leap by itself when nothing is to be done.
async fn drive(speed: f64) -> std::convert::Infallible {
    let (tick, mut ticks) = mpsc::channel(1);
    tokio::task::spawn_blocking(move || {
        while tick.blocking_send(()).is_ok() {
            std::thread::sleep(TICK);
        }
    });
    let stopwatch = Stopwatch::start();
    let mut passed = Duration::ZERO;
    while ticks.recv().await.is_some() {
        let now = stopwatch.elapsed().mul_f64(speed);
        while let Some(left) = now.checked_sub(passed).filter(|left| !left.is_zero()) {
            let stride = left.min(STRIDE);
            advance(stride).await;
            passed += stride;
        }
    }
    // The blocking task ends only after this.
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    #[test]
    fn time_goes_as_fast_as_it_is_told_to() {
        for (speed, seconds, expected) in [(1.0, 0.3, 0.3), (20.0, 6.0, 0.3)] {
            let outside = Stopwatch::start();
            let inside = run(Pace::Real(speed), async {
                let start = Instant::now();
                sleep(Duration::from_secs_f64(seconds)).await;
                start.elapsed().as_secs_f64()
            });
            let (inside, outside) = (inside.unwrap(), outside.elapsed().as_secs_f64());
            assert!((inside - seconds).abs() < 0.1 * speed.max(1.0), "{inside} s inside at {speed}");
            assert!((expected..expected + 5.0).contains(&outside), "{outside} s outside at {speed}");
        }
    }

    #[test]
    fn leaps_take_no_time() {
        let outside = Stopwatch::start();
        run(Pace::Leaping, async { sleep(Duration::from_secs(3600)).await }).unwrap();
        assert!(outside.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn nothing_leaps_while_a_socket_is_waited_for() {
        let waited = run(Pace::Real(1.0), async {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let caller = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(200));
                std::net::TcpStream::connect(address).unwrap()
            });
            let start = Instant::now();
            listener.accept().await.unwrap();
            caller.join().unwrap();
            start.elapsed()
        });
        let waited = waited.unwrap();
        assert!(waited > Duration::from_millis(100) && waited < Duration::from_secs(20), "{waited:?}");
    }
}
