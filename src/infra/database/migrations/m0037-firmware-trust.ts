import { Migration } from "@mikro-orm/migrations";

/** What signing keys vouch for and until when, how many of each role a product's firmware needs, and files beside firmware. */
export class FirmwareTrust extends Migration {
  override up(): void {
    this.addSql(`alter table signing_keys
      add column role text not null default 'release',
      add column expires_at timestamptz`);
    this.addSql(`create table signature_requirements (
      product text not null,
      release_signatures int not null,
      security_signatures int not null,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      primary key (product)
    )`);
    this.addSql(`create table firmware_attachments (
      id uuid not null,
      firmware_id uuid not null,
      kind text not null,
      format text not null,
      sha256 text not null,
      size_bytes bigint not null,
      file_name text not null,
      creator text not null,
      created_at timestamptz not null default now(),
      primary key (id),
      constraint firmware_attachments_firmware_id_sha256_unique unique (firmware_id, sha256),
      constraint firmware_attachments_firmware_id_foreign foreign key (firmware_id) references firmware_updates (id)
    )`);
  }

  override down(): void {
    this.addSql("drop table firmware_attachments");
    this.addSql("drop table signature_requirements");
    this.addSql("alter table signing_keys drop column role, drop column expires_at");
  }
}
