/**
 * The embedded PostgreSQL cannot be started on its data folder. The message is written for the operator: it names
 * the folder and says what to do.
 */
export class EmbeddedPostgresError extends Error {
  override readonly name: string = "EmbeddedPostgresError";
}

/** Another live process has the data folder. */
export class FolderInUseError extends EmbeddedPostgresError {
  override readonly name = "FolderInUseError";
}
