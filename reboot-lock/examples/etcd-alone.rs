//! How many values a second one client writes to an etcd that has nothing else to do, each after the answer to the one before:
//! what no lock that remembers in etcd can surpass while it is asked by one host after the other.
//!
//! `cargo run --release -p twinhull-lock --example etcd-alone -- http://127.0.0.1:2379 5`

use std::time::{Duration, Instant};

use etcd_client::Client;

/// About as long as the record of a group with one holder.
const VALUE: [u8; 256] = [b'x'; 256];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(endpoint), Some(seconds)) = (arguments.next(), arguments.next()) else {
        return Err("usage: etcd-alone URL SECONDS".into());
    };
    let duration = Duration::from_secs(seconds.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rate = runtime.block_on(async {
        let mut client = Client::connect([endpoint], None).await?.kv_client();
        let begun = Instant::now();
        let mut written = 0_u32;
        while begun.elapsed() < duration {
            client.put("/etcd-alone", VALUE, None).await?;
            written += 1;
        }
        Ok::<_, etcd_client::Error>(f64::from(written) / begun.elapsed().as_secs_f64())
    });
    println!("{:.3}", rate?);
    Ok(())
}
