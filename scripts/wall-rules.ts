/** Makes the linter's rules of the table of walls: an allow list for each room, closed by default. */

import { posix } from "node:path";
import { outside, packageKinds, rooms, type Wall } from "./walls.ts";

type WallPattern = { group: string[]; message: string } | { regex: string; message: string };

/** A part of the linter's configuration: what the files of a room may not import. */
export interface WallOverride {
  files: string[];
  rules: { "no-restricted-imports": ["error", { patterns: WallPattern[] }] };
}

const message =
  "This room may not import that one (scripts/walls.ts): declare an interface here, and let who stands above plug it in.";

/** Tests beside their subject may know the wire and the fixtures. */
const unitTestsMay = ["wire", "grpc", "test"];

/** One for each kind of file in each room. Of several that fit a file the last one counts. */
export const wallOverrides: WallOverride[] = [
  // What has no row: nothing above itself.
  override(["{src,test,bench,scripts}/**/*.{ts,tsx}"], "", []),
  override(["src/*.test.ts"], "src", [...Object.keys(rooms).map(fromRoot), ...unitTestsMay]),
  ...Object.entries(rooms).flatMap(([room, wall]) => roomOverrides(`src/${room}`, wall)),
  ...Object.entries(outside).flatMap(([room, wall]) => roomOverrides(room, wall)),
];

/** The rules for a room and the rooms in it; `room` is its path from the root of the repository. */
function roomOverrides(room: string, { may, wireMay = [], rooms: within = {} }: Wall): WallOverride[] {
  const all = may.map(fromRoot);
  if (room.endsWith(".ts")) return [override([room], folderOf(room), all)];
  const neighbour = (word: string): string => {
    if (word === ".") return room;
    return word in within ? `${room}/${word}` : fromRoot(word);
  };
  const paths: [string, readonly string[]][] = [
    [room, []],
    ...Object.entries(within).map(([inner, words]): [string, readonly string[]] => [
      `${room}/${inner}`,
      words.map(neighbour),
    ]),
  ];
  return paths.flatMap(([path, neighbours]) => {
    const domain = [...all, ...neighbours];
    const wire = [...domain, ...wireMay.map(fromRoot)];
    return [
      override([`${path}/*.{ts,tsx}`], path, domain),
      override([`${path}/*-{handlers,messages,routes}.ts`], path, wire),
      override([`${path}/*.test.ts`], path, [...wire, ...unitTestsMay]),
    ];
  });
}

/** The rule for files of one folder, which may import what is `allowed`: paths from the root, and kinds of packages. */
function override(files: string[], folder: string, allowed: readonly string[]): WallOverride {
  const open = allowed
    .map((word) => (word === "wire" ? "gen" : word))
    .filter((word) => !(word in packageKinds))
    .map((path) => `!${specifier(folder, path)}`);
  const packages = Object.entries(packageKinds)
    .filter(([kind]) => !allowed.includes(kind))
    .map(([, names]) => ({ regex: `^(?:${names})`, message }));
  // Beside the files at the top of src/ stand rooms, not parts of their own.
  const closed = folder === "src" ? ["../**", "./**"] : ["../**"];
  return {
    files,
    rules: {
      "no-restricted-imports": [
        "error",
        { patterns: [{ group: [...closed, ...open], message }, ...packages] },
      ],
    },
  };
}

/** How the files of a folder write the import of a path: a pattern for all of it, or the file. */
function specifier(folder: string, path: string): string {
  const relative = posix.relative(folder, path);
  const written = relative.startsWith("..") ? relative : `./${relative}`;
  if (path.endsWith(".ts")) return written;
  return relative === "" || /^[./]+$/.test(relative) ? `${relative}/*` : `${written}/**`;
}

/** A word of the table as a path from the root; kinds of packages stay as they are. */
function fromRoot(word: string): string {
  if (word in packageKinds) return word;
  return word.startsWith("/") ? word.slice(1) : `src/${word}`;
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}
