import { Migration } from "@mikro-orm/migrations";

/** TUF metadata by product, as it is served, and the service's own keys for snapshot and timestamp. */
export class TufRepositories extends Migration {
  override up(): void {
    this.addSql(`create table tuf_repositories (product text not null, created_at timestamptz not null default now(),
      primary key (product))`);
    this.addSql(`create table tuf_online_keys (id text not null, product text not null, private_key_pem text not null,
      public_key_pem text not null, created_at timestamptz not null default now(), primary key (id))`);
    this.addSql("create index tuf_online_keys_product_index on tuf_online_keys (product)");
    this.addSql(`create table tuf_metadata (product text not null, role text not null, version int not null, content bytea not null,
      expires_at timestamptz not null, created_at timestamptz not null default now(), primary key (product, role, version))`);
  }

  override down(): void {
    this.addSql("drop table tuf_metadata");
    this.addSql("drop table tuf_online_keys");
    this.addSql("drop table tuf_repositories");
  }
}
