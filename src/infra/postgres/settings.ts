/** Megabytes, as PostgreSQL writes them. */
const mb = (count: number): string => `${count}MB`;

/**
 * Server settings of the embedded PostgreSQL, given on its command line at every start so that they follow the
 * service's version and not the day on which the data folder was made. Sized for a machine with 2 cores and 2 GB;
 * who needs more runs a PostgreSQL of their own.
 */
export const EMBEDDED_POSTGRES_SETTINGS: Readonly<Record<string, string>> = {
  // An acknowledged heartbeat is a committed row: these two are the promise, whatever a file in the folder says.
  fsync: "on",
  synchronous_commit: "on",

  // A Unix socket alone, in a folder of its own: a port could be bound by anybody on the machine while the server restarts.
  listen_addresses: "",

  // One replica uses about 11 connections; the rest is for tools, tests and a second replica during an upgrade.
  max_connections: "100",

  // Latest state, marks and hot index pages of 100,000 devices fit; the operating system caches the rest.
  shared_buffers: mb(256),
  work_mem: mb(8),
  maintenance_work_mem: mb(64),

  // With 2 cores a parallel query takes the core that ingest needs. It would also allocate in /dev/shm, of which a
  // container has 64 MB.
  max_parallel_workers_per_gather: "0",
  max_parallel_maintenance_workers: "0",
  jit: "off",

  // COPY-heavy ingest: fewer full-page images and fewer checkpoints; 1 GB of WAL replays in well under a minute.
  wal_compression: "on",
  max_wal_size: mb(1024),
  checkpoint_timeout: "15min",

  // Flash storage is the rule; the default of 4 describes spinning disks and makes the planner avoid indexes.
  random_page_cost: "1.1",

  // A query whose client is gone (service killed) is stopped instead of holding its locks to the end.
  client_connection_check_interval: "5s",

  timezone: "UTC",
  log_timezone: "UTC",
  lc_messages: "C",
  log_line_prefix: "",
  log_checkpoints: "off",
  logging_collector: "off",
  cluster_name: "device-ota",
};
