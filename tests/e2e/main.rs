//! The program as its user has it: a process with a configuration file, real sockets, real TLS, real time, and a
//! fake Graph that counts what arrives.

#[cfg(test)]
mod bursts;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod drops;
#[cfg(test)]
mod https;
#[cfg(test)]
mod lives;
#[cfg(test)]
mod pair;
#[cfg(test)]
mod renewals;
#[cfg(test)]
mod replicas;
#[cfg(test)]
mod rollback;
#[cfg(test)]
mod secrets;
#[cfg(test)]
#[path = "../postgres/server.rs"]
mod server;
#[cfg(test)]
mod supplies;
#[cfg(test)]
mod support;
#[cfg(test)]
mod uploads;
