// Bundles the pinned packages and src/ into src/mainspring/web/static/dist: hashed names, .gz twins, and a manifest.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import postcss from "postcss";
import { PurgeCSS } from "purgecss";

const OUT = "../src/mainspring/web/static/dist";
const FIRST_FONT = "inter-latin-wght-normal"; // what every page needs, and so asks for before its style is read
const PAGES = "../src/mainspring/web";
const SCRIPTS = { app: "src/app.ts", charts: "src/charts.ts", theme: "src/theme.ts" };
const STYLE = { style: "src/app.css" };

function argument(name, otherwise) {
  const at = process.argv.indexOf(name);
  return at < 0 ? otherwise : process.argv[at + 1];
}

async function bundle(entryPoints, plugins = []) {
  const result = await build({
    entryPoints,
    plugins,
    outdir: OUT,
    bundle: true,
    minify: true,
    splitting: true,
    format: "esm",
    target: "es2022",
    entryNames: "[name]-[hash]",
    chunkNames: "chunk-[hash]",
    assetNames: "[name]-[hash]",
    loader: { ".woff2": "file", ".woff": "empty" },
    legalComments: "linked",
    metafile: true,
    logLevel: "warning",
  });
  const files = {};
  for (const [path, output] of Object.entries(result.metafile.outputs)) {
    if (output.entryPoint) files[output.entryPoint.replace("src/", "")] = path.replace(`${OUT}/`, "");
    if (path.includes(FIRST_FONT)) files[`${FIRST_FONT}.woff2`] = path.replace(`${OUT}/`, "");
  }
  return files;
}

function contents(folder, kind) {
  const names = readdirSync(folder, { recursive: true }).filter((name) => kind.test(name));
  return names.map((name) => ({ raw: readFileSync(join(folder, name), "utf8"), extension: "html" }));
}

// For the sake of these rules a browser looks at every element anew whenever any changes: eight times while Runs loads.
// Those with :has() are for parts that no page of ours has, and nothing that follows a legend is beside it here.
const DEAR = /:has\(|legend ?\+ ?\*/;

function withoutDearRules(css) {
  const style = postcss.parse(css);
  style.walkRules(DEAR, (rule) => {
    const others = rule.selectors.filter((selector) => !DEAR.test(selector));
    if (others.length > 0) rule.selectors = others;
    else rule.remove();
  });
  return style.toString();
}

// Of the kit's style, rules alone whose names are words of our pages or scripts. A browser asks of each element whether
// a rule is its own: with all 3,600 of the kit, it asked nine times as often as now. Our own style is kept whole.
const whatIsUsed = {
  name: "what is used",
  setup(building) {
    building.onLoad({ filter: /@tabler[/\\]core[/\\].*\.css$/ }, async ({ path }) => {
      const [purged] = await new PurgeCSS().purge({
        content: [...contents(PAGES, /\.(html|py)$/), ...contents(OUT, /\.js$/)],
        css: [{ raw: withoutDearRules(readFileSync(path, "utf8")) }],
        defaultExtractor: (text) => text.match(/[\w-]+/g) ?? [],
      });
      return { contents: purged.css, loader: "css", resolveDir: dirname(path) };
    });
  },
};

// The outline of each icon that src/icons.txt names; a name that does not exist fails the build. Pages draw them inline:
// hundreds of <use> of one sprite cost a browser more than the rest of a list.
function icons() {
  const names = readFileSync("src/icons.txt", "utf8").split(/\s+/).filter(Boolean);
  return Object.fromEntries(
    names.map((name) => {
      const svg = readFileSync(`node_modules/@tabler/icons/icons/outline/${name}.svg`, "utf8");
      const strokes = [...svg.matchAll(/<path d="([^"]+)"/g)].map(([, stroke]) => stroke);
      if (strokes.length === 0 || strokes.some((stroke) => !stroke.startsWith("M"))) {
        throw new Error(`the strokes of the icon ${name} cannot be drawn as one`);
      }
      return [name, strokes.join("")];
    }),
  );
}

function writeHashed(name, content) {
  const hash = createHash("sha256").update(content).digest("hex").slice(0, 8);
  const hashed = name.replace(/(\.\w+)$/, `-${hash}$1`);
  writeFileSync(join(OUT, hashed), content);
  return hashed;
}

function compress() {
  for (const name of readdirSync(OUT).filter((file) => /\.(js|css|svg)$/.test(file))) {
    writeFileSync(join(OUT, `${name}.gz`), gzipSync(readFileSync(join(OUT, name)), { level: 9 }));
  }
}

rmSync(OUT, { recursive: true, force: true });
mkdirSync(OUT, { recursive: true });
const files = { ...(await bundle(SCRIPTS)), ...(await bundle(STYLE, [whatIsUsed])) };
files["favicon.svg"] = writeHashed("favicon.svg", readFileSync("src/favicon.svg", "utf8"));
compress();
const fingerprint = argument("--fingerprint", "by hand");
writeFileSync(join(OUT, "manifest.json"), JSON.stringify({ fingerprint, files, icons: icons() }));
