// The side panel: rooms, people, oneself. And the line at the top that tells of the connection.

import { $, avatarOf, buttonOf, element, paint, setText, syncList } from './dom.js';
import { lastAtOf } from './state.js';
import { fragmentOf, hueOf, isRoomName, sameName } from './text.js';

const PEOPLE_LISTED = 200; // The count tells of the rest.

export function drawPanel(page) {
	drawRooms(page);
	drawPeople(page);
	drawYou(page);
}

/** What keeps the room that is shown from being heard. */
function problemOf({ refused, open, connection }, say) {
	return isRoomName(open) ? refused.get(open) ?? connection.problem : { message: say('badRoom'), final: true };
}

function phaseOf({ refused, open, connection, rooms }) {
	if (refused.has(open) || !isRoomName(open)) return 'refused';
	return connection.phase === 'connected' && !rooms.get(open)?.greeted ? 'connecting' : connection.phase;
}

/** Trouble is told at once, with the seconds outside of the live region, which would read out each of them. */
export function drawConnection({ chat, say, naming }) {
	const { until = 0 } = chat.connection;
	const phase = phaseOf(chat);
	const problem = problemOf(chat, say);
	$('status-dot').className = `dot ${phase}`;
	setText($('status'), say(phase));
	$('status').classList.toggle('unseen', phase === 'connected');
	$('here').hidden = phase !== 'connected';
	setText($('here'), say('here', { n: chat.rooms.get(chat.open)?.memberCount ?? 0 }));
	setText($('countdown'), until > Date.now() ? say('inSeconds', { n: Math.ceil((until - Date.now()) / 1000) }) : '');
	$('notice').hidden = !problem || Boolean(naming);
	setText($('notice-text'), problem ? say.error(problem) : '');
	$('try-again').hidden = Boolean(problem?.final);
}

function drawRooms({ chat, say, listed, followed, leaveRoom }) {
	const known = new Map(listed.map((summary) => [summary.room, summary]));
	const mine = [...new Set([...chat.asked, ...followed(), chat.open])].map((room) => {
		const { unread = 0, mentioned = 0 } = chat.rooms.get(room) ?? {};
		const at = (chat.rooms.has(room) && lastAtOf(chat.rooms.get(room))) || known.get(room)?.lastMessageAt || 0;
		return { room, unread, mentioned, at };
	});
	const others = listed.filter(({ room }) => !mine.some((own) => own.room === room)).map((summary) => ({ ...summary, at: summary.lastMessageAt ?? 0 }));
	for (const rooms of [mine, others]) rooms.sort((a, b) => b.at - a.at || a.room.localeCompare(b.room));
	const link = (room) => element('a', { dir: 'auto', href: fragmentOf(room), textContent: room });
	const build = ({ room }) => {
		const leave = element('button', { type: 'button', className: 'leave', ariaLabel: say('leave', { room }), onclick: () => leaveRoom(room) });
		return element('li', {}, link(room), element('span', { className: 'badge', ariaHidden: 'true' }), leave);
	};
	syncList($('rooms'), mine, ({ room }) => room, build, (item, { room, unread, mentioned }) => {
		const [anchor, badge, leave] = item.children;
		anchor.ariaCurrent = room === chat.open ? 'page' : null;
		anchor.ariaLabel = unread ? [room, say('unread', { n: unread }), mentioned && say('mentioned', { n: mentioned })].filter(Boolean).join(', ') : null;
		anchor.classList.toggle('unread', unread > 0);
		setText(badge, mentioned ? `@${mentioned}` : unread || '');
		badge.classList.toggle('mentioned', mentioned > 0);
		leave.hidden = mine.length < 2;
	});
	$('others').hidden = others.length === 0;
	syncList($('other-rooms'), others, ({ room }) => room, ({ room }) => element('li', {}, link(room), element('span', { className: 'badge quiet' })), (item, { memberCount }) => setText(item.lastChild, memberCount || ''));
}

function drawPeople({ chat, say, local }) {
	const state = chat.rooms.get(chat.open);
	const hue = (name) => hueOf(state.authors.get(name.toLowerCase()) ?? name);
	const names = [...state.members.values()].sort((a, b) => a.localeCompare(b)).slice(0, PEOPLE_LISTED);
	const build = (name) => {
		const person = element('button', { type: 'button', dir: 'auto', className: 'person', tabIndex: -1, textContent: name, dataset: { insert: name } });
		return element('li', {}, avatarOf(name, hue(name)), person);
	};
	syncList($('people'), names, (name) => name, build, (item, name) => {
		item.classList.toggle('self', sameName(name, chat.name));
		paint(item.firstChild, name, hue(name));
	});
	setText($('member-count'), state.memberCount || '');
	const rest = [[state.memberCount - names.length, 'andMore'], [state.listenerCount, 'listening']];
	setText($('listeners'), rest.filter(([n]) => n > 0).map(([n, key]) => say(key, { n })).join(' · '));
	$('notify').value = local.get('notify') ?? 'off';
	$('sound').checked = Boolean(local.get('sound'));
}

function drawYou({ chat, say, moderation, moderate, stopModerating, showBans }) {
	$('own').hidden = !chat.name;
	setText($('own-name'), chat.name);
	paint($('own-avatar'), chat.name, hueOf([...chat.authors].at(-1) ?? chat.name));
	const { available, moderator } = moderation;
	const actions = available && !moderator ? [['moderate', moderate]] : moderator ? [['bans', showBans], ['logOut', stopModerating]] : [];
	$('moderation').hidden = !available;
	$('moderator').hidden = !moderator;
	syncList($('moderation-actions'), actions, ([key]) => key, ([key, act]) => buttonOf(say(key), act));
}
