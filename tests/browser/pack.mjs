// Packs the page into `www/packed`, from where it becomes part of the binary. Run it after each change in `www`, by
// `npm --prefix tests/browser run pack`. It needs Node.js, gzip, and once `npm --prefix tests/browser ci`.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { buildSync } from 'esbuild';

const www = path.resolve(import.meta.dirname, '../../www');
const read = (name) => readFileSync(path.join(www, name));

/** What is served, and of which files it is made. All modules of the page become one script, which packs better and comes sooner. */
export const PARTS = {
  'index.html': ['index.html'], 'chat.css': ['chat.css'], 'notify.js': ['notify.js'], 'manifest.webmanifest': ['manifest.webmanifest'],
  'favicon.svg': ['favicon.svg'], 'favicon-unread.svg': ['favicon-unread.svg'], 'icon.png': ['icon.png'],
  'js/main.js': ['text', 'words', 'state', 'network', 'start', 'log', 'views', 'dialogs', 'main'].map((name) => `js/${name}.js`),
  'js/words.zh-Hans.js': ['js/words.zh-Hans.js'],
};

/** Comments and indentation are for those who read the source. */
const leanPage = (page) => page.replace(/^\t+/gm, '').replace(/^<!--.*\n/gm, '').replace(/^<link rel="modulepreload".*\n/gm, '');

/** The content of a part. */
export function contentOf(part) {
  if (part.endsWith('.html')) return Buffer.from(leanPage(String(read(part))));
  if (!/\.(css|js)$/.test(part)) return read(part);
  const options = { bundle: true, minify: true, format: 'esm', charset: 'utf8' };
  const { outputFiles } = buildSync({ entryPoints: [path.join(www, part)], write: false, ...options });
  return Buffer.from(outputFiles[0].contents);
}

/** FNV-1a, by which the build notices a file that was changed and not packed. */
const checksum = (bytes) => bytes.reduce((sum, byte) => Math.imul(sum ^ byte, 0x01000193) >>> 0, 0x811c9dc5);

if (process.argv[1] === import.meta.filename) {
  rmSync(path.join(www, 'packed'), { recursive: true, force: true });
  let bytes = 0;
  for (const [part, sources] of Object.entries(PARTS)) {
    const packed = execFileSync('gzip', ['-9nc'], { input: contentOf(part) });
    // Where gzip has the time of the change.
    packed.writeUInt32LE(checksum(Buffer.concat(sources.map(read))), 4);
    const file = path.join(www, 'packed', `${part}.gz`);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, packed);
    bytes += packed.length;
  }
  console.log(`${Object.keys(PARTS).length} parts, ${bytes} bytes`);
}
