import { Migration } from "@mikro-orm/migrations";

/** People who signed in at an OpenID Connect issuer. */
export class OidcPeople extends Migration {
  override up(): void {
    this.addSql(`create table oidc_people (
      id uuid not null,
      issuer text not null,
      subject text not null,
      name text not null,
      last_seen_at timestamptz not null,
      ended_at timestamptz,
      disabled_at timestamptz,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      primary key (id),
      constraint oidc_people_issuer_subject_unique unique (issuer, subject))`);
  }

  override down(): void {
    this.addSql("drop table oidc_people");
  }
}
