//! Serin: progressive delivery for Kubernetes.
//!
//! The map of the house. One pass over one Canary goes through it from top to bottom; `ARCHITECTURE.md` says why.
//!
//! | room | what lives there | may do I/O |
//! |---|---|---|
//! | [`api`] | what users write and read: Canary, `MetricTemplate`, `AlertProvider`; validation; CRD output | no |
//! | [`analysis`] | judging numbers: bounds, verdicts and how they combine | no |
//! | [`rollout`] | the rollout itself: what to ask (`needs`) and what follows (`decide`) | no |
//! | [`workload`] | the pair: primary, Services, autoscaler and config copies; revision identity; readiness | no |
//! | [`routing`] | moving traffic: one file per technology, plans only | no |
//! | [`outbound`] | HTTP to whatever is not Kubernetes: over the network, or in memory | yes |
//! | [`metrics`] | fetching numbers: Prometheus, query templates, built-in query profiles | yes |
//! | [`alerts`] | Slack, Teams and the others: one file per sink | yes |
//! | [`cluster`] | every Kubernetes call there is | yes |
//! | [`controller`] | the loop: triggers, one pass, retries, shutdown | yes |
//! | [`server`] | HTTP: metrics and health | yes |
//! | [`sim`] | a cluster in memory, and worlds in which the controller meets every fault | yes |
//! | [`cli`] | one file per subcommand | yes |
//! | [`clock`] | the only place that reads the time | yes |

pub mod alerts;
pub mod analysis;
pub mod api;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod controller;
pub mod metrics;
pub mod outbound;
pub mod rollout;
pub mod routing;
pub mod server;
pub mod sim;
pub mod workload;
