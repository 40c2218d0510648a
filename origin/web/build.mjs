// Builds the watch page into dist/: index.html and assets/ whose names carry a hash of their content, so that
// origin can mark them immutable.
import { build } from "esbuild";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";

await rm("dist", { recursive: true, force: true });
const { metafile } = await build({
  entryPoints: ["src/watch.js", "src/watch.css"],
  outdir: "dist/assets",
  entryNames: "[name]-[hash]",
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022"],
  legalComments: "linked",
  metafile: true,
});

const built = Object.keys(metafile.outputs).map((file) => path.basename(file));
const nameOf = (extension) => {
  const name = built.find((file) => file.startsWith("watch-") && file.endsWith(extension));
  if (!name) throw new Error(`nothing was built for watch*${extension}`);
  return name;
};
const page = (await readFile("src/index.html", "utf8"))
  .replace("{{script}}", `/assets/${nameOf(".js")}`)
  .replace("{{style}}", `/assets/${nameOf(".css")}`);
await mkdir("dist", { recursive: true });
await writeFile("dist/index.html", page);
