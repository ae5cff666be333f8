// What people do and the stream tells. The views then bring the document in line.

import {
	addOlder, adoptSnapshot, answer, applyEvent, applyOpened, arrive, getRoom, isOwn, leave, LIMITS, openIn, readUpTo, setConnection, setRefused, unreadOf,
} from './state.js';
import { addPending, dropPending, openOutbox, request, restorePending, roomPath, settlePending } from './network.js';
import { fragmentOf, isRoomName, mentions } from './text.js';
import {
	$, closeSide, copyText, drawComposer, drawConnection, drawPeople, drawRooms, drawYou, focusWriting, insert, listenToText, setText, showSide, translate,
	typesOnScreen,
} from './views.js';
import { chat, feed, followed, follows, handlers, joinAs, local, moveFollowed, prefix, roomHere, saveReads, setFollowed, tab, waiting, words } from './start.js';
import { askPassword, onLogKey, openLog, openMenu, showBans } from './log.js';

const ROOMS_MILLIS = 15_000; // Between looks at the list of rooms.
const NOTIFIED_CHARACTERS = 200;
const HIDDEN_MILLIS = 100; // A hidden page gets no frame to draw in.
const SAVE_MILLIS = 500; // Until it is stored how far one has read.
const RETRY_MILLIS = 2000; // After older messages could not be had.

const say = await words;
/** @type {any} */
const page = { say, local, chat, followed, leaveRoom, listed: [], naming: false, nameError: {}, moderation: {} };
const current = () => getRoom(chat, chat.open);
const savePending = () => tab.set('pending', chat.pending);
const outbox = openOutbox(chat, () => (savePending(), changed()));
const log = openLog({ loadOlder, changed, current });
let toFollow = roomHere(); // The room just opened, until it is heard.
let drawing = false;
let loading = false;
let saving = 0;

// ---- Rooms and names

function openFragment() {
	openRoom(roomHere());
	showSide(false);
	askRooms();
	update();
	if (!typesOnScreen()) focusWriting();
}

function openRoom(room) {
	toFollow = room;
	if (chat.open === room) return;
	openIn(chat, room);
	saveReads();
	attend();
	showDraft();
	page.naming = false;
	const { code, name } = page.nameError;
	if (code === 'name-taken') setName(name); // It may be free here.
	else if (chat.refused.has(room)) feed.retry(room);
	feed.moved();
}

const showDraft = () => ($.text.value = local.get(`draft ${chat.open}`) ?? '');
const saveDraft = () => local.set(`draft ${chat.open}`, $.text.value);

const attend = () => (document.hidden ? leave(current()) : arrive(chat, current()));

function setName(name) {
	page.nameError = {};
	joinAs(name);
}

function goNameless(problem) {
	const { name } = chat;
	setName('');
	page.naming = true;
	page.nameError = { ...problem, name };
	$.name.value = name;
	update();
	if (!typesOnScreen() && !($.text.value && document.activeElement === $.text)) $.name.focus();
	changed();
}

function takeName() {
	const name = $.name.value.trim();
	if (!name) return;
	tab.set('name', name);
	local.set('name', name);
	moveFollowed([chat.name, page.nameError.name], name);
	setName(name);
	toFollow = chat.open;
	askName(false);
}

function askName(asking) {
	page.naming = asking;
	if (asking) $.name.value = chat.name;
	showSide(false);
	update();
	focusWriting();
}

function leaveRoom(room) {
	setFollowed(room, null);
	if (room === chat.open) location.hash = fragmentOf([...followed(), ...chat.asked].find((other) => other !== room) ?? 'lobby');
	changed();
}

/** Where `lobby` is not offered, the server chooses the room. */
function openFirstRoom() {
	const source = new EventSource('chat?history=0');
	source.addEventListener('error', () => source.close());
	source.addEventListener('chat-room-connected', ({ data }) => {
		source.close();
		if (!location.hash) openRoom(JSON.parse(data).room);
	});
}

// ---- What the stream tells

function apply(what) {
	const { event, data, snapshot, opened, nameless, refused, connection } = what;
	const { phase } = chat.connection;
	if (nameless) return goNameless(nameless);
	if (event) noteMessages([data], applyEvent(chat, what));
	else if (snapshot) noteMessages(snapshot.rooms.flatMap(({ entries }) => entries), adoptSnapshot(chat, snapshot));
	else if (opened) applyOpened(chat, opened);
	else if (refused) applyRefused(refused);
	else setConnection(chat, connection);
	if (phase !== 'connected' && chat.connection.phase === 'connected') {
		outbox.wake();
		askModeration();
	}
	if (toFollow && current().greeted) {
		if (!current().read) readUpTo(current(), chat.position); // It was empty so far.
		setTimeout(changed, LIMITS.backlogMillis + 50); // Then the history is there.
		if (toFollow === chat.open && !followed().includes(toFollow)) setFollowed(toFollow, { read: current().read, name: chat.name });
		toFollow = '';
	}
	changed();
}

function applyRefused({ room, problem }) {
	setRefused(chat, room, problem);
	const { code } = problem ?? {};
	if (['room-not-offered', 'bad-room'].includes(code) && follows()[room]) setFollowed(room, null);
	if (room !== chat.open) return;
	if (code === 'name-taken') goNameless(problem);
	else if (code === 'room-not-offered' && !location.hash) openFirstRoom();
}

function noteMessages(told, fresh) {
	for (const entry of told) if (entry.text !== undefined) settlePending(chat, entry);
	const mode = local.get('notify');
	for (const message of fresh) {
		if (isOwn(chat, message) || message.removed) continue;
		const seen = message.room === chat.open && !document.hidden;
		if (seen) log.speak(message);
		const wanted = mode === 'all' || (mode === 'mentions' && mentions(message.text, chat.name));
		if (wanted && !seen && feed.notifies(message.room)) notify(message);
	}
}

function notify({ room, name, text, eventId: tag }) {
	if (local.get('sound')) beep();
	if (globalThis.Notification?.permission !== 'granted') return;
	try {
		// Under one tag it is shown once, even if each tab has its own stream.
		new Notification(`${name} · #${room}`, { body: text.slice(0, NOTIFIED_CHARACTERS), tag }).addEventListener('click', () => {
			window.focus();
			location.hash = fragmentOf(room);
		});
	} catch {
		// Browsers on Android refuse the constructor.
	}
}

function beep() {
	const context = new AudioContext();
	const tone = context.createOscillator();
	tone.connect(context.destination);
	tone.onended = () => context.close();
	tone.start();
	tone.stop(context.currentTime + 0.1);
}

async function loadOlder(state) {
	const oldest = state.entries.find((entry) => !entry.gap);
	if (loading || state.oldestReached || !oldest) return;
	loading = true;
	const { body } = await request(`${roomPath(state.room)}/messages?before=${oldest.eventId}&limit=${LIMITS.page}`);
	if (body) addOlder(state, body.messages, LIMITS.page);
	else await new Promise((resolve) => setTimeout(resolve, RETRY_MILLIS));
	loading = false;
	changed();
}

async function askRooms() {
	if (document.hidden) return;
	page.listed = (await request('rooms')).body?.rooms ?? page.listed;
	changed();
}

async function askModeration() {
	page.moderation = (await request('moderator')).body ?? {};
	changed();
}

// ---- What people do

function send() {
	drawComposer(page);
	if ($.send.disabled) return;
	addPending(chat, $.text.value.trimEnd());
	$.text.value = '';
	saveDraft();
	answer(current());
	outbox.flush();
	changed();
}

/** Who spoke last comes first. */
function likelyNames() {
	const names = [...current().entries.map(({ name }) => name ?? '').reverse(), ...current().members.values()];
	const seen = new Set(['', chat.name.toLowerCase()]);
	return names.filter((name) => !seen.has(name.toLowerCase()) && seen.add(name.toLowerCase()));
}

async function invite({ currentTarget: button }) {
	const url = location.origin + location.pathname + fragmentOf(chat.open);
	if (typesOnScreen() && navigator.share) return navigator.share({ title: `#${chat.open}`, url }).catch(() => {});
	await copyText(url);
	setText(button, say('copied'));
	setTimeout(() => setText(button, say('invite')), 3000);
}

function goToRoom() {
	const input = $.roomInput;
	const room = input.value.trim().replace(/^#/, '').replace(/\s+/g, '-').normalize('NFC');
	input.setCustomValidity(isRoomName(room) ? '' : say('badRoom'));
	if (!input.reportValidity()) return;
	input.value = '';
	location.hash = fragmentOf(room);
}

function handlePending({ action, key }) {
	const item = chat.pending.find((other) => other.key === key);
	if (!item || !action) return;
	if (action === 'discard') dropPending(chat, item);
	else outbox.retry(item);
	savePending();
	update();
	focusWriting();
}

function onLogClick({ target }) {
	if (target.dataset.insert && chat.name) return insert(`@${target.dataset.insert} `, { after: /\s$/ });
	const id = target.closest('.message')?.dataset.id;
	const entry = current().entries.find(({ eventId }) => eventId === id);
	if (target.className === 'more' && entry) openMenu(page, target, entry);
}

// ---- The document

/** The document is updated once in a frame. */
function changed() {
	if (drawing) return;
	drawing = true;
	const draw = () => {
		drawing = false;
		update();
		log.fill(current());
	};
	if (document.hidden) setTimeout(draw, HIDDEN_MILLIS);
	else requestAnimationFrame(draw);
}

function update() {
	for (const draw of [drawComposer, log.draw, drawConnection, drawRooms, drawPeople, drawYou]) draw(page, current());
	setText($.roomTitle, chat.open);
	const unread = [...chat.rooms.values()].reduce((sum, room) => sum + unreadOf(chat, room).length, 0);
	document.title = `${unread ? `(${unread}) ` : ''}#${chat.open} · chatroom`;
	const icon = unread ? 'favicon-unread.svg' : 'favicon.svg';
	if ($.icon.getAttribute('href') !== icon) $.icon.href = icon;
	saving ||= setTimeout(() => (saving = 0, saveReads()), SAVE_MILLIS);
}

function listenToControls() {
	const on = (id, type, handler) => $[id].addEventListener(type, (event) => {
		if (type === 'submit') event.preventDefault();
		handler(event);
	});
	listenToText(send, likelyNames);
	on('composer', 'submit', send);
	on('text', 'input', () => (saveDraft(), drawComposer(page)));
	on('join', 'submit', takeName);
	on('join', 'keydown', ({ key }) => key === 'Escape' && chat.name && askName(false));
	on('join-cancel', 'click', () => askName(false));
	on('rename', 'click', () => askName(true));
	on('notify', 'change', async ({ target: { value } }) => {
		const granted = value === 'off' || (await globalThis.Notification?.requestPermission()) === 'granted';
		local.set('notify', granted ? value : 'off');
		changed();
	});
	on('sound', 'change', () => (local.set('sound', $.sound.checked), $.sound.checked && beep()));
	on('moderate', 'click', () => {
		if (page.moderation.moderator) request('moderator', { method: 'DELETE' }).then(askModeration);
		else askPassword(say, askModeration);
	});
	on('bans', 'click', () => showBans(say));
	on('room-form', 'submit', goToRoom);
	on('room-input', 'input', () => $.roomInput.setCustomValidity(''));
	on('try-again', 'click', () => feed.retry(chat.open));
	on('jump', 'click', () => (log.jump(current()), update(), typesOnScreen() || focusWriting()));
	on('menu', 'click', () => showSide(true));
	for (const id of ['shade', 'side-close']) on(id, 'click', closeSide);
	for (const id of ['invite', 'invite-empty']) on(id, 'click', invite);
	on('pending', 'click', ({ target }) => handlePending(target.dataset));
	on('log', 'click', onLogClick);
	on('people', 'click', (event) => (showSide(false), onLogClick(event)));
	on('scroller', 'keydown', onLogKey);
}

function listenToBrowser() {
	const wake = ({ type }) => {
		attend();
		feed.moved();
		if (document.hidden) {
			drawing = false;
			saveReads();
			return changed();
		}
		feed.wake(type === 'online');
		outbox.wake();
		askRooms();
		update();
	};
	document.addEventListener('visibilitychange', wake);
	addEventListener('online', wake);
	addEventListener('pageshow', ({ persisted }) => persisted && feed.moved());
	addEventListener('pagehide', () => (saveReads(), feed.goodbye()));
	addEventListener('offline', () => {
		// On a loopback address the stream may still live: its next event says so.
		setConnection(chat, { phase: 'offline' });
		changed();
	});
	addEventListener('storage', ({ key }) => {
		if (key !== `${prefix}followed`) return;
		for (const [room, { read }] of Object.entries(follows())) if (chat.rooms.has(room)) readUpTo(getRoom(chat, room), read);
		feed.moved();
		changed();
	});
	addEventListener('hashchange', openFragment);
	addEventListener('keydown', ({ key }) => key === 'Escape' && closeSide());
	setInterval(() => {
		feed.tick();
		if (chat.connection.phase !== 'connected' || chat.pending.length) changed();
	}, 1000);
	setInterval(askRooms, ROOMS_MILLIS);
}

translate(say);
restorePending(chat, tab.get('pending') ?? []);
attend();
showDraft();
listenToControls();
listenToBrowser();
$.app.hidden = false;
handlers.apply = apply;
waiting.forEach(apply);
openFragment();
outbox.flush();
