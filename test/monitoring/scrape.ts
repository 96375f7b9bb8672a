import type { TestService } from "../support/service.ts";

/** A metric as a scrape shows it. */
export interface ScrapedMetric {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  /** The labels of each of its series, with their values; `le` of buckets left out. */
  readonly series: readonly Readonly<Record<string, string>>[];
}

/** All metrics of a service by name, read as Prometheus would. */
export async function scrape(service: Pick<TestService, "httpUrl">): Promise<Map<string, ScrapedMetric>> {
  return metricsOf(await scrapeText(service));
}

/** The same as it came. */
export async function scrapeText({ httpUrl }: Pick<TestService, "httpUrl">): Promise<string> {
  return await (await fetch(`${httpUrl}/metrics`)).text();
}

/** The metrics of Prometheus' text format. */
function metricsOf(text: string): Map<string, ScrapedMetric> {
  const found = new Map<string, ScrapedMetric & { series: Record<string, string>[] }>();
  for (const line of text.split("\n")) {
    const help = /^# HELP (\S+) (.*)$/.exec(line);
    if (help) found.set(help[1] ?? "", { name: help[1] ?? "", help: help[2] ?? "", type: "", series: [] });
    const type = /^# TYPE (\S+) (\S+)$/.exec(line);
    if (type) found.set(type[1] ?? "", { ...known(found, type[1] ?? ""), type: type[2] ?? "" });
    const sample = /^([a-z]\w*)(?:\{(.*)\})? \S+$/.exec(line);
    if (sample === null) continue;
    const labels = (sample[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g);
    const { le: _, ...rest } = Object.fromEntries(Array.from(labels, ([, name, value]) => [name, value]));
    known(found, sample[1] ?? "").series.push(rest);
  }
  return found;
}

/** Histograms have series of other names than their own. */
function known<T>(metrics: ReadonlyMap<string, T>, series: string): T {
  const metric = metrics.get(series) ?? metrics.get(series.replace(/_(?:bucket|sum|count)$/, ""));
  if (metric === undefined) throw new Error(`a series without HELP: ${series}`);
  return metric;
}
