// How texts and names are parsed and compared.

// In a reply.
const QUOTE_LINES = 3;
const QUOTE_CHARACTERS = 240;

// A quotation, or one line of a list.
const BLOCK = /((?:^>.*(?:\n|$))+|^(?:-|\d{1,3}\.) .*(?:\n|$))/m;
// A link has no invisible characters and no signs that look like its own: it shows where it leads.
const LINK = String.raw`(?:https?:\/\/|(?<![\p{L}\p{N}_.@-])www\.)[^\s<>"\x60\p{Cc}\p{Cf}\p{DI}\u2044\u2215\u2571\u2800\u29f8\u3000-\u303f\uff00-\uff61]+`;
const INLINE = String.raw`\x60([^\x60\n]+)\x60|(${LINK})|([*_]+)|\n`;
// In these scripts a sign within a word is literal, as in snake_case.
const WORD = /[\p{N}\p{Script=Latin}\p{Script=Cyrillic}\p{Script=Greek}]/u;

// After so many of a message, what follows is one text, and one line: a page of fifty messages is drawn at once.
const TOKENS = 200;
const LINES = 400;
let left = 0;

/** Takes no longer than the text is long, whatever it says. @returns {Token[]} */
export function tokensOf(text) {
	left = TOKENS;
	let lines = LINES;
	const tokens = [];
	const parts = text.replace(/\n/g, () => (lines-- > 0 ? '\n' : ' ')).split('```');
	for (const [index, part] of parts.entries()) {
		const [, language, block] = part.match(/^(?:([\w+#.-]{1,20})\n)?\n?([^]*)$/);
		const fenced = index % 2 && index < parts.length - 1 && block.trim() && left-- > 0;
		if (fenced) tokens.push({ kind: 'pre', text: block.replace(/\n$/, ''), ...(language && { language }) });
		else addLines(tokens, index % 2 ? `\`\`\`${part}${index < parts.length - 1 ? '```' : ''}` : tokens.at(-1)?.kind === 'pre' ? part.replace(/^\n/, '') : part);
	}
	return tokens;
}

function addLines(tokens, text) {
	for (const [index, part] of text.split(BLOCK).entries()) {
		const [, marker] = part.match(/^(\S+) /) ?? [];
		const add = (kind, inner) => tokens.push({ kind, text: inner, marker, tokens: inlineOf(inner) });
		if (index % 2 === 0 || left-- <= 0) inlineOf(part, tokens);
		else if (part[0] === '>') add('blockquote', part.replace(/^> ?/gm, '').replace(/\n$/, ''));
		else add('item', part.slice(marker.length + 1).replace(/\n$/, ''));
	}
}

/** One pass: of each sign one is open at most, and a line closes them all. */
function inlineOf(text, tokens = []) {
	const pattern = new RegExp(INLINE, 'giu');
	const open = [];
	let end = 0;

	function add(kind, text, /** @type {any} */ more = {}) {
		const list = open.at(-1)?.tokens ?? tokens;
		const last = list.at(-1);
		if (kind === 'text' && last?.kind === 'text') last.text += text;
		else if (text) list.push({ kind, text, ...more });
	}

	/** What was opened and is not closed was no sign. */
	function giveUp(from) {
		for (const { sign, tokens: inner } of open.splice(from)) {
			add('text', sign);
			for (const { kind, text, ...more } of inner) add(kind, text, more);
		}
	}

	function takeSigns(signs, index) {
		const [before = ' ', after = ' '] = [text[index - 1], text[index + signs.length]];
		const opens = after.trim() && !WORD.test(before);
		const closes = before.trim() && !WORD.test(after);
		for (let rest = signs; rest;) {
			const inner = closes && open.at(-1)?.sign === '*' && !(rest === '**' && open[0].sign === '**');
			const sign = rest.startsWith('**') && !inner ? '**' : rest[0];
			const at = index + signs.length - rest.length;
			const opened = open.findIndex((other) => other.sign === sign);
			if (closes && opened >= 0 && open[opened].start < at) {
				giveUp(opened + 1);
				const { start, tokens: inside } = open.pop();
				add(sign === '**' ? 'strong' : 'em', text.slice(start, at), { tokens: inside });
			} else if (opens && opened < 0) open.push({ sign, start: at + sign.length, tokens: [] });
			else add('text', sign);
			rest = rest.slice(sign.length);
		}
	}

	for (let match; left > 0 && (match = pattern.exec(text));) {
		const { 0: whole, 1: code, 2: address, 3: signs, index } = match;
		add('text', text.slice(end, index));
		end = index + whole.length;
		if (whole !== '\n') left -= 1;
		if (code) add('code', code);
		else if (signs) takeSigns(signs, index);
		else if (address) {
			const link = linkOf(address);
			add('link', link);
			end = pattern.lastIndex = index + (link.length || address.length);
			if (!link) add('text', address);
		} else {
			giveUp(0);
			add('text', whole);
		}
	}
	add('text', text.slice(end));
	giveUp(0);
	return tokens;
}

// Punctuation at the end belongs to the sentence, and a bracket that was opened before the link.
function linkOf(address) {
	const surplus = (close, open) => address.split(close).length - address.split(open).length;
	const unopened = { ')': surplus(')', '('), ']': surplus(']', '[') };
	let end = address.length;
	for (let sign; (sign = address[end - 1]), `.,;:!?'*~`.includes(sign) || unopened[sign] > 0; unopened[sign] -= 1) end -= 1;
	const link = address.slice(0, end);
	return /^(?:https?:\/\/[^/?#]|www\.[^/?#.]+\.[^/?#.])/i.test(link) ? link : '';
}

export const isEmoji = (text) => /^(?:\p{RGI_Emoji}\s*){1,3}$/v.test(text);

/** How much of a text fits, in UTF-16 units. */
export const fittingIn = (text, bytes) => new TextEncoder().encodeInto(text, new Uint8Array(bytes)).read;

/** Cuts after a line or a word where it can, and closes and opens again a block of code that it cuts. None where they were more than `limit`. */
export function partsOf(text, bytes, limit = Infinity) {
	const parts = [];
	let rest = text;
	for (;;) {
		if (parts.length + rest.length / bytes > limit) return [];
		if (fittingIn(rest, bytes) === rest.length) return [...parts, rest];
		// Room for a fence.
		const most = rest.slice(0, fittingIn(rest, bytes - 4));
		const end = ['\n', ' '].map((sign) => most.lastIndexOf(sign) + 1).find((at) => at > most.length / 2) ?? most.length;
		const part = rest.slice(0, end).trimEnd();
		const inside = part.split('```').length % 2 === 0;
		parts.push(inside ? `${part}\n\`\`\`` : part);
		rest = (inside ? '```\n' : '') + rest.slice(end);
	}
}

/** Quotations in the message are left out. */
export function quoteOf(name, text) {
	const lines = text.split('\n').filter((line) => line.trim() && !line.startsWith('>'));
	const kept = [...lines.slice(0, QUOTE_LINES).join('\n')];
	const cut = lines.length > QUOTE_LINES || kept.length > QUOTE_CHARACTERS;
	const quoted = kept.slice(0, QUOTE_CHARACTERS).join('') + (cut ? '…' : '');
	return `${`${name}: ${quoted}`.replace(/^/gm, '> ')}\n`;
}

// ---- Names

export const sameName = (a, b) => a.toLowerCase() === b.toLowerCase();

// Some scripts have no spaces between words.
const inWord = (character = '') => /(?![\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}])[\p{L}\p{N}_]/u.test(character);

/** `also` does not mean Al. */
export function mentions(text, name) {
	if (!name) return false;
	const [where, what] = [text.toLowerCase(), name.toLowerCase()];
	for (let at = where.indexOf(what); at >= 0; at = where.indexOf(what, at + 1)) {
		if (!inWord(where[at - 1]) && !inWord(where[at + what.length])) return true;
	}
	return false;
}

/** After `@` the word may be empty, and have blanks in it as names do. */
export function completionsAt(text, caret, names) {
	const before = text.slice(0, caret).toLowerCase();
	const at = before.lastIndexOf('@') + 1;
	const startingAt = (from) => ({ from, at: at > 0 && from === at, names: names.filter((name) => name.toLowerCase().startsWith(before.slice(from))) });
	const called = at && !inWord(before[at - 2]) ? startingAt(at) : { from: caret, at: false, names: [] };
	// No name is longer, and a search from further back would take long.
	const [word] = before.slice(-33).match(/(?<![^\s(,:])[^\s(,:@]{1,32}$/) ?? [];
	return called.names.length || !word ? called : startingAt(caret - word.length);
}

/** One of twelve, so that two that differ differ clearly. */
export function hueOf(key) {
	let hash = 7;
	for (const character of key.toLowerCase()) hash = (hash * 31 + character.charCodeAt(0)) % 9973;
	return (hash % 12) * 30;
}

// ---- Rooms

export const isRoomName = (room) => /^(?!\.)(?=[^]{1,64}$)(?:[\w.-]|[^\0-\x7f\s\p{Cc}\p{Cf}\p{DI}\u2800\u{1d159}])*(?:~[a-z0-9]{22,40})?$/u.test(room);

// A private room is for those who have its link: behind its label, which may be empty, stands a key. It is shown to nobody.
export const isPrivate = (room) => room.includes('~');
export const labelOf = (room) => room.replace(/~.*/, '');

/** 130 random bits, in digits none of which looks like another. */
export const newKey = () => [...crypto.getRandomValues(new Uint8Array(26))].map((byte) => '0123456789abcdefghjkmnpqrstvwxyz'[byte % 32]).join('');

/** The room of this name among those that are known: case decides only where two differ in it alone. */
export const roomAmong = (rooms, name) => (rooms.includes(name) ? name : rooms.find((room) => sameName(room, name)) ?? name);

/** As people type it. */
export const roomOfInput = (text) => text.trim().replace(/^#/, '').replace(/\s+/g, '-').normalize('NFC');

export function roomOfFragment(fragment) {
	const raw = fragment.replace(/^#/, '');
	try {
		return decodeURIComponent(raw).normalize('NFC');
	} catch {
		return raw;
	}
}

export const fragmentOf = (room) => `#${encodeURIComponent(room)}`;

// No room is called like that.
export const fragmentOfCode = (code) => `#device=${code}`;
export const codeOfFragment = (fragment) => fragment.match(/^#device=([\w-]+)$/)?.[1];
