//! What is tested of simulated worlds themselves; the large numbers of them run in release (`make worlds`).

mod campaigns;
mod messages;
mod mistakes;
