// Writing: the message field, and the form in which one chooses a name.

import { $, setText } from './dom.js';
import { PENDING_MOST } from './outbox.js';
import { isRoomName, completionsAt } from './text.js';

const TEXT_BYTES = 4096; // Of a message, as the server has it by default.
const COUNTER_BYTES = 3600; // From here on the composer shows how much is left.

// Where the keyboard is on the screen it has no Shift+Enter: there Enter starts a line, and the button sends.
const touch = matchMedia('(pointer: coarse)');
const mouse = matchMedia('(any-pointer: fine)');
export const typesOnScreen = () => touch.matches && !mouse.matches;

export const focusWriting = () => ($('composer').hidden || !$('join').hidden ? $('name') : $('text')).focus();

export function drawComposer({ chat, say, naming, nameError }) {
	const usable = isRoomName(chat.open);
	const text = $('text');
	$('join').hidden = !usable || !(naming || !chat.name);
	// What somebody has begun to write stays in sight while they have no name.
	$('composer').hidden = !usable || !(chat.name || text.value || document.activeElement === text);
	$('join-cancel').hidden = !chat.name;
	setText($('name-help'), nameError ? say.error(nameError) : say(chat.name ? 'renameHelp' : 'joinHelp'));
	$('name-help').classList.toggle('problem', Boolean(nameError));
	$('name').ariaInvalid = nameError ? 'true' : null;
	text.placeholder = say('messageTo', { room: chat.open });
	text.enterKeyHint = typesOnScreen() ? 'enter' : 'send';
	$('grow').dataset.text = `${text.value}\u200b`; // A copy of the text gives the field its height.
	const left = TEXT_BYTES - new TextEncoder().encode(text.value.trimEnd()).length;
	$('send').disabled = left < 0 || !text.value.trim() || !chat.name || chat.pending.length >= PENDING_MOST;
	const counter = left < 0 ? say('over', { n: -left }) : say('left', { n: left });
	const help = typesOnScreen() ? '' : say('composerHelp');
	setText($('composer-help'), left < TEXT_BYTES - COUNTER_BYTES ? counter : help);
	$('composer-help').classList.toggle('problem', left < 0);
}

/** Puts text at the caret, as typing would, so that it can be undone. */
export function insert(text, { from = $('text').selectionStart, to = $('text').selectionEnd } = {}) {
	const field = $('text');
	field.focus();
	field.setSelectionRange(from, to);
	// The old command is the only way that keeps the browser's undo.
	if (!document.execCommand('insertText', false, text)) field.setRangeText(text, from, to, 'end');
	field.dispatchEvent(new Event('input'));
}

export function insertName(name) {
	const before = $('text').value.slice(0, $('text').selectionStart);
	insert(`${before && !/\s$/.test(before) ? ' ' : ''}@${name} `);
}

export function insertQuote(quote) {
	const before = $('text').value.slice(0, $('text').selectionStart);
	insert(`${before && !before.endsWith('\n') ? '\n' : ''}${quote}`);
}

/** Handles the keys of the message field. `names` gives the names that Tab completes, the likeliest first. */
export function listenToText({ send, names }) {
	const field = $('text');
	/** @type {any} */
	let cycle = null; // The completion that the next Tab replaces by another.

	function complete() {
		const caret = field.selectionStart;
		if (cycle && (cycle.end !== caret || cycle.value !== field.value)) cycle = null;
		const found = cycle ?? { ...completionsAt(field.value, caret, names()), at: -1 };
		if (!found.names.length || (cycle && found.names.length === 1)) return false;
		const at = (found.at + 1) % found.names.length;
		insert(`${found.names[at]} `, { from: found.from, to: caret });
		cycle = { ...found, at, end: field.selectionStart, value: field.value };
		return true;
	}

	field.addEventListener('keydown', (event) => {
		const { key, shiftKey, ctrlKey, metaKey, altKey, isComposing, keyCode } = event;
		// While an input method composes, Enter takes its suggestion; Safari ends the composition before it tells of that Enter.
		if (isComposing || keyCode === 229) return;
		const sends = key === 'Enter' && !shiftKey && (ctrlKey || metaKey || !typesOnScreen());
		const completes = key === 'Tab' && !shiftKey && !ctrlKey && !metaKey && !altKey && complete();
		if (sends || completes) event.preventDefault();
		if (sends) send();
	});
}
