import { Migration } from "@mikro-orm/migrations";

/** What signing keys vouch for and until when, and how many keys of each role a product's firmware needs. */
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
  }

  override down(): void {
    this.addSql("drop table signature_requirements");
    this.addSql("alter table signing_keys drop column role, drop column expires_at");
  }
}
