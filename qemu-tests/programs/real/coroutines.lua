-- Coroutines, tables, strings, files and garbage.
local scale = tonumber(os.getenv("SCALE"))

local function numbers(limit)
	return coroutine.wrap(function()
		for number = 1, limit do
			coroutine.yield(number, tostring(number):reverse())
		end
	end)
end

for turn = 1, scale do
	local sum, words = 0, {}
	for number, text in numbers(20000) do
		sum = sum + number * turn % 13
		words[#words + 1] = text
	end
	table.sort(words)
	print(turn, sum, words[turn], #table.concat(words, ","))
	local file = assert(io.open("numbers.txt", "w"))
	for number = 1, 2000 do
		file:write(number * turn, "\n")
	end
	file:close()
	local read = 0
	for line in io.lines("numbers.txt") do
		read = read + math.tointeger(line)
	end
	print(read, ("%x"):format(read), (words[turn] .. "-x"):gsub("%d", "%%"))
	local pipe = assert(io.popen("sort -n numbers.txt | tail -n 1"))
	print(pipe:read("n"))
	pipe:close()
end
