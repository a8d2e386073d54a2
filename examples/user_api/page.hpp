// The page at "/": registers, logs in, lists and changes users, all by the API, which it shows as it goes.

#pragma once

#include <string_view>

namespace user_api {

inline constexpr std::string_view kPage = R"HTML(<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>User API</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
  form { display: flex; flex-wrap: wrap; gap: .5rem; margin: .5rem 0 }
  input { flex: 1 1 9rem; padding: .3rem }
  table { width: 100%; border-collapse: collapse; margin: 1rem 0 }
  th, td { text-align: left; padding: .3rem; border-bottom: 1px solid #ddd }
  .inactive { color: #999 }
  #said { white-space: pre-wrap; background: #f4f4f4; padding: .5rem; font: 13px/1.4 monospace; overflow-wrap: anywhere }
</style>
<h1>User API</h1>
<form id="account">
  <input name="email" type="email" placeholder="e-mail" autocomplete="username" required>
  <input name="name" placeholder="name (to register)" autocomplete="name">
  <input name="password" type="password" placeholder="password" autocomplete="current-password" required>
  <button value="register">Register</button>
  <button value="login">Log in</button>
</form>
<table>
  <thead><tr><th>id<th>e-mail<th>name<th>since<th></tr></thead>
  <tbody id="users"></tbody>
</table>
<button id="previous">Previous</button> <button id="next">Next</button>
<p id="said">Register, then log in.</p>
<script>
const limit = 10;
let token = '', skip = 0;

async function ask(method, path, body) {
  const headers = {};
  if (token) headers['Authorization'] = 'Bearer ' + token;
  if (body) headers['Content-Type'] = 'application/json';
  const reply = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  const text = await reply.text();
  document.getElementById('said').textContent =
    method + ' ' + path + '\n' + reply.status + ' ' + text.replace(/("access_token":)"\w+"/, '$1"..."');
  if (!reply.ok) return null;
  return text ? JSON.parse(text) : {};
}

function cell(row, content) {
  const td = row.insertCell();
  td.append(content);
}

function button(label, action) {
  const made = document.createElement('button');
  made.textContent = label;
  made.onclick = async () => { if (await action()) await show(); };
  return made;
}

async function show() {
  const users = await ask('GET', `/users?skip=${skip}&limit=${limit}`);
  if (!users) return;
  const table = document.getElementById('users');
  table.replaceChildren();
  for (const user of users) {
    const path = '/users/' + user.id;
    const row = table.insertRow();
    row.className = user.is_active ? '' : 'inactive';
    for (const text of [user.id, user.email, user.name, user.created_at.slice(0, 10)]) cell(row, text);
    const actions = row.insertCell();
    actions.append(
      button('Rename', async () => {
        const name = prompt('New name', user.name);
        return name === null ? null : ask('PATCH', path, { name });
      }),
      button(user.is_active ? 'Deactivate' : 'Activate', () => ask('PATCH', path, { is_active: !user.is_active })),
      button('Delete', () => ask('DELETE', path)));
  }
}

document.getElementById('account').onsubmit = async (event) => {
  event.preventDefault();
  const { email, name, password } = Object.fromEntries(new FormData(event.target));
  if (event.submitter.value === 'register') return ask('POST', '/users', { email, name, password });
  const login = await ask('POST', '/login', { email, password });
  if (!login) return;
  token = login.access_token;
  await show();
};
document.getElementById('previous').onclick = () => { skip = Math.max(0, skip - limit); show(); };
document.getElementById('next').onclick = () => { skip += limit; show(); };
</script>
</html>
)HTML";

}  // namespace user_api
