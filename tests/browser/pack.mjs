// Packs the page into `www/packed`, from where it becomes part of the binary. Run it after each change in `www`, by
// `node tests/browser/pack.mjs`. It needs nothing but Node.js and gzip.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const www = path.resolve(import.meta.dirname, '../../www');
const read = (name) => readFileSync(path.join(www, name));

/** What is served, and of which files it is made. All modules of the page become one script, which packs better and comes sooner. */
export const PARTS = {
  'index.html': ['index.html'], 'chat.css': ['chat.css'], 'notify.js': ['notify.js'], 'manifest.webmanifest': ['manifest.webmanifest'],
  'favicon.svg': ['favicon.svg'], 'favicon-unread.svg': ['favicon-unread.svg'], 'icon.png': ['icon.png'],
  'js/main.js': ['text', 'words', 'state', 'network', 'start', 'log', 'views', 'dialogs', 'main'].map((name) => `js/${name}.js`),
  'js/words.zh-Hans.js': ['js/words.zh-Hans.js'],
};

// Indentation, comments, the last semicolon of a block and `const` are for those who read the source. So are blanks around signs: strings have none that matter.
const lean = (source) => source.replace(/^\t+/gm, '').replace(/^(?:\/\/|\/\*|<!--).*\n/gm, '').replace(/ (?:\/\/ .*|\/\*.*\*\/)$|\/\*\* @.*?\*\/ ?/gm, '').replace(/^\n/gm, '').replace(/;\n(?=})/g, '');
const TIGHT = {
  '.js': (script) => script.replace(/\bconst /g, 'let ').replace(/ (=>|[=!]==|[?:<>*=]|&&|\|\||\?\?) /g, '$1').replace(/\{ | (?=\})|(?<=\)) (?=\{)|(?<=\b(?:if|for)) (?=\()/g, (sign) => sign.trim()),
  '.css': (style) => style.replace(/ (?=[{}])|(?<=[{,;:]) /g, ''),
};

/** The content of a part. */
export function contentOf(part) {
  const sources = PARTS[part].map(read);
  if (!/\.(html|css|js)$/.test(part)) return sources[0];
  const text = sources.map(String).map(lean).map(TIGHT[path.extname(part)] ?? String).join('').replace(/^<link rel="modulepreload".*\n/gm, '');
  if (sources.length === 1) return Buffer.from(text);
  const script = text.replace(/^import [^;]*;\n/gm, '').replace(/^export /gm, '');
  // Two modules may have used one name.
  execFileSync(process.execPath, ['--input-type=module', '--check'], { input: script });
  return Buffer.from(script);
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
